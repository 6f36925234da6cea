#!/usr/bin/env python3
"""Writes the stand-in language model of the development image: `model.py OUT.gguf`.

A one-layer Llama with random weights, 0.3 MB. It speaks nonsense, but by the same path a real model does: Ollama loads
it, makes its prompt from the chat template, samples tokens and answers on `/v1/chat/completions`. Needs `gguf` and
`numpy`. The same file comes out every time.
"""

import sys

import gguf  # type: ignore[import-not-found]  # only the recipe that runs this has it
import numpy as np  # type: ignore[import-not-found]  # only the recipe that runs this has it

WORDS = (
    "the a we and to of in it is that for with on this meeting team plan notes action item decision next week agreed"
    " review budget customer release schedule question answer topic summary speaker discussed follow up today"
)
MARK = "\u2581"  # SentencePiece writes a blank as this character
EMBEDDING, HEADS, FEED_FORWARD, CONTEXT = 64, 4, 128, 32768
SEED = 20260424


def vocabulary() -> tuple[list[str], list[int]]:
    """Return tokens and their types: three control tokens, every byte (so that any text can be read), then words."""
    tokens = ["<unk>", "<s>", "</s>"]
    types = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    tokens += [f"<0x{byte:02X}>" for byte in range(256)]
    types += [gguf.TokenType.BYTE] * 256
    words = [MARK + word for word in dict.fromkeys(WORDS.split())] + [MARK]
    tokens += words
    types += [gguf.TokenType.NORMAL] * len(words)
    return tokens, [int(kind) for kind in types]


def main(path: str) -> None:
    """Write the model to `path`."""
    tokens, types = vocabulary()
    first_word = tokens.index(MARK + "the")
    random = np.random.default_rng(SEED)

    def weights(rows: int, columns: int) -> np.ndarray:
        return random.normal(0.0, columns**-0.5, (rows, columns)).astype(np.float32)

    embedding = weights(len(tokens), EMBEDDING)
    output = weights(len(tokens), EMBEDDING) * 4
    # The first dimension is the same for every token, and the output layer reads it as "say a word": a random model
    # would otherwise answer with control tokens or broken UTF-8, that is with nothing, now and then.
    embedding[:, 0] = 2.0
    output[:, 0] = -8.0
    output[first_word:-1, 0] = 8.0

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(EMBEDDING)
    writer.add_block_count(1)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(EMBEDDING // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0 if kind != gguf.TokenType.NORMAL else -float(i) for i, kind in enumerate(types)])
    writer.add_token_types(types)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)

    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output_norm.weight", np.ones(EMBEDDING, dtype=np.float32))
    writer.add_tensor("output.weight", output)
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        writer.add_tensor(f"blk.0.{name}.weight", weights(EMBEDDING, EMBEDDING))
    writer.add_tensor("blk.0.ffn_gate.weight", weights(FEED_FORWARD, EMBEDDING))
    writer.add_tensor("blk.0.ffn_up.weight", weights(FEED_FORWARD, EMBEDDING))
    writer.add_tensor("blk.0.ffn_down.weight", weights(EMBEDDING, FEED_FORWARD))
    writer.add_tensor("blk.0.attn_norm.weight", np.ones(EMBEDDING, dtype=np.float32))
    writer.add_tensor("blk.0.ffn_norm.weight", np.ones(EMBEDDING, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: model.py OUT.gguf")
    main(sys.argv[1])
