"""libfastnn in programs of C beside other libraries that do the same."""
