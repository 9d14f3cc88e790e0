"""How fast and how large: each figure beside a ceiling that is measured in the same run on the same machine."""
