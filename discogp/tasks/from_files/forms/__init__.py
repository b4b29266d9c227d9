"""Files of prompts in the forms that people have them in, read as rows with the columns of our own form."""
