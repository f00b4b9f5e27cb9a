"""One network, one calibration: the images it is fitted on, the fit, and what it found."""
