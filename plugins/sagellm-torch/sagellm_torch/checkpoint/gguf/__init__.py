"""GGUF files: header, tensors, and the configuration they imply.

The format is described in ggml's ``docs/gguf.md``. Nothing here is re-exported: importing this
package must stay free of torch, which the tokenizer does not need.
"""
