"""The rig's model: GLM-4.7-Flash in small (``Glm4MoeLiteForCausalLM``), random weights, made once and kept.

The shape keeps what matters to memory and routing: the first layer dense, then 64 routed experts of which a
token uses 4 and one shared; queries through a low-rank projection; a head of 64 (32 without position, 32 with),
so that an FP8 KV cache works on a CPU. Widths are small enough for a prefill of 8,000 tokens/s on two cores.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

from unfrag.bench.corpus import corpus
from unfrag.system.paths import cache_dir

SEED = 20260208
VOCAB_SIZE = 8192
CONFIG = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 384,
    "intermediate_size": 768,
    "moe_intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "n_routed_experts": 64,
    "num_experts_per_tok": 4,
    "n_shared_experts": 1,
    "q_lora_rank": 64,
    "kv_lora_rank": 64,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 32,
    "v_head_dim": 64,
    "max_position_embeddings": 16384,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
_SPECIAL = ["<bos>", "<eos>", "<pad>", "<|user|>", "<|assistant|>", "<|system|>"]
_CHAT_TEMPLATE = (
    "{{ '<bos>' }}{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def ensure_model(folder: Path | None = None) -> Path:
    """The folder of the rig's model, made first if it is not there.

    Two processes may call this at once: each builds aside and the first to finish wins.

    Raises:
        ImportError: the extra ``cpu`` (torch, transformers) is not installed.
    """
    folder = folder or cache_dir() / f"glm-4.7-flash-rig-{_fingerprint()}"
    if (folder / "config.json").exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    try:
        _save_tokenizer(aside)
        _save_weights(aside)
        try:
            os.rename(aside, folder)
        except OSError:
            if not (folder / "config.json").exists():
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _fingerprint() -> str:
    import hashlib

    recipe = json.dumps([SEED, CONFIG, _SPECIAL, _CHAT_TEMPLATE, corpus(SEED, 64)], sort_keys=True)
    return hashlib.sha256(recipe.encode()).hexdigest()[:10]


def _save_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=12,
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(SEED, 20_000), trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        chat_template=_CHAT_TEMPLATE,
    ).save_pretrained(folder)


def _save_weights(folder: Path) -> None:
    import torch
    from transformers import Glm4MoeLiteConfig, Glm4MoeLiteForCausalLM
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    torch.manual_seed(SEED)
    model = Glm4MoeLiteForCausalLM(Glm4MoeLiteConfig(**CONFIG)).to(torch.bfloat16)
    model.save_pretrained(folder)
    # vLLM reads this field; the configuration class of transformers leaves it out.
    path = folder / "config.json"
    config = json.loads(path.read_text()) | {"first_k_dense_replace": 1}
    path.write_text(json.dumps(config, indent=2))
