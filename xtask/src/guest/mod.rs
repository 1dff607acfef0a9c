//! What a container lacks to be a machine, as edits of the tree.
