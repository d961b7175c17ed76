//! URLs and search forms in bodies.
