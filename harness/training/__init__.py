"""`dogerm train`: reward models and language models to merge, trained with TRL and PEFT."""
