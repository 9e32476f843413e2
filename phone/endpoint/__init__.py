"""The parts of the scripted model endpoint; ``phone.model`` puts them behind a port."""
