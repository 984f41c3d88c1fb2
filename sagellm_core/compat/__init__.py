"""Other libraries' programming interfaces over sagellm, one package each."""
