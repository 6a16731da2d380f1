"""The stages of the pipeline: a file is one command of dvc.yaml."""
