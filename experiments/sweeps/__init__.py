"""Many runs in one folder: which they are, where they are trained, and what is done already."""
