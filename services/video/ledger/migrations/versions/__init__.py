"""One module a version; a release never edits an old one."""
