"""One module a distillation method: what it can be asked, and its presets."""
