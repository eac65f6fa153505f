"""How the models that ship with the book are made: drawn scenes, training, evaluation, and the tables of their cards."""
