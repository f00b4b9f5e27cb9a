"""Mutants of docs/guarantees.md: who is let in."""

from tests.mutants.mutant import Mutant

MUTANTS = (
    Mutant(
        "short-keys-are-taken",
        "app/shared/settings.py",
        "    if len(text.strip()) < MIN_KEY_LENGTH:\n",
        "    if len(text) < 0:\n",
        (
            "tests/shared/test_settings.py::"
            "test_a_key_that_anyone_could_guess_or_nobody_could_send_is_refused",
        ),
    ),
    Mutant(
        "keys-compared-by-equality",
        "app/api/http/api_key.py",
        '        return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), self._text)\n',
        '        return given.encode("utf-8", "surrogatepass") == self._text\n',
        ("tests/api/test_api_key.py::test_keys_are_compared_in_constant_time",),
    ),
    Mutant(
        "pages-of-other-sites-may-change",
        "app/api/http/access.py",
        '        return site not in ("same-origin", "none")\n',
        "        return False\n",
        ("tests/api/test_access.py::test_changes_of_another_site_are_refused",),
    ),
    Mutant(
        "the-data-folder-stays-open",
        "app/shared/startup.py",
        "        os.chmod(path, stat.S_IMODE(mode) & ~_OTHERS)",
        "        os.chmod(path, stat.S_IMODE(mode))",
        ("tests/shared/test_startup.py::test_what_stood_open_is_closed",),
    ),
    Mutant(
        "login-addresses-work-twice",
        "app/shared/login_tokens.py",
        "        path.unlink()\n    except",
        "        path.touch()\n    except",
        ("tests/web/test_login.py::test_an_address_works_once",),
    ),
    Mutant(
        "login-addresses-never-get-old",
        "app/shared/login_tokens.py",
        "    return is_fresh\n",
        "    return True\n",
        ("tests/web/test_login.py::test_an_address_gets_too_old",),
    ),
    Mutant(
        "sessions-outlive-their-key",
        "app/api/http/api_key.py",
        'hmac.digest(self._text, b"ddcal session", "sha256")',
        'hmac.digest(b"ddcal", b"ddcal session", "sha256")',
        ("tests/api/test_api_key.py::test_a_new_key_ends_every_session",),
    ),
    Mutant(
        "workers-know-the-key",
        "app/embedded/parts.py",
        "            heard = {**environment, SIGNS_VARIABLE: prefix}\n",
        "            heard = {**api_environment(settings, environment), SIGNS_VARIABLE: prefix}\n",
        ("tests/e2e/test_door.py::test_the_key_is_in_no_command_line_and_in_one_environment",),
        is_slow=True,
    ),
    Mutant(
        "addresses-of-killed-services-are-believed",
        "ddcal/local_service.py",
        "        return address if _is_held(folder) else None\n",
        "        return address\n",
        ("tests/ddcal/test_finding.py::test_what_a_killed_service_has_left_is_not_believed",),
    ),
)
