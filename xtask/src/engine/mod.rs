//! Container engines: docker and podman. They build and export; everything after is ours.
