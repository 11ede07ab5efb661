"""The science of Sora on Ray: no Ray, no HTTP, no global state; importable in a notebook."""
