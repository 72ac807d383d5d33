"""The Presentation API 3.0 as pure functions: manifests and collections, as documents."""
