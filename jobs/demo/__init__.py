"""The whole chain on one machine: an embedded S3, a local Ray, curation, training, serving, one video over HTTP."""
