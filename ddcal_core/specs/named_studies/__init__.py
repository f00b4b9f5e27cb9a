"""Studies under a name: a question, what varies, and the rule that decides, fixed beforehand."""
