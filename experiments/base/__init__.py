"""What everything else stands on: errors, whole files, the clock, signals, the machine, the grammar of values."""
