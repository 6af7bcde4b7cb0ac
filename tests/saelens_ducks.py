"""Objects that look to a reader as SAELens's do: its attributes, methods and oddities, none of its code. SAELens itself
cannot be installed beside TransformerLens 4."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import torch
from torch import nn


class Metadata:
    """As SAELens 6's: any attribute that was never set is None."""

    def __init__(self, **values):
        self.sae_lens_version = values.pop("sae_lens_version", "6.54.12")
        vars(self).update(values)

    def __getattr__(self, name):
        return None

    def to_dict(self):
        return dict(vars(self))


@dataclass
class Config:
    """As SAELens 6's `StandardSAEConfig` and its kin."""

    d_in: int
    d_sae: int
    dtype: str = "float32"
    device: str = "cpu"
    apply_b_dec_to_input: bool = True
    normalize_activations: str = "none"
    reshape_activations: str = "none"
    metadata: Metadata = field(default_factory=Metadata)

    word = "standard"

    @classmethod
    def architecture(cls):
        return cls.word

    def to_dict(self):
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return values | {"metadata": self.metadata.to_dict(), "architecture": self.architecture()}


@dataclass
class TopKConfig(Config):
    k: int = 100
    rescale_acts_by_decoder_norm: bool = False
    word = "topk"


@dataclass
class BatchTopKTrainingConfig(Config):
    """In training; for others it is a JumpReLU coder."""

    k: int = 16
    aux_loss_coefficient: float = 1.0
    word = "batchtopk"

    def get_inference_sae_cfg_dict(self):
        values = {one.name: getattr(self, one.name) for one in fields(Config)}
        return values | {"architecture": "jumprelu", "metadata": self.metadata.to_dict()}


class SAE(nn.Module):
    """As SAELens 6's `SAE`: a module with a `cfg`."""

    def __init__(self, cfg, weights):
        super().__init__()
        self.cfg = cfg
        self.hook_sae_input = nn.Identity()
        for name, tensor in weights.items():
            setattr(self, name, nn.Parameter(tensor))

    def process_state_dict_for_saving(self, state_dict):
        pass

    def __getitem__(self, index):
        raise AssertionError("an object is not a tuple")


class BatchTopKTrainingSAE(SAE):
    def __init__(self, cfg, weights):
        super().__init__(cfg, weights)
        self.register_buffer("topk_threshold", torch.tensor(0.25, dtype=torch.double))

    def process_state_dict_for_saving_inference(self, state_dict):
        self.process_state_dict_for_saving(state_dict)
        state_dict["threshold"] = torch.ones_like(state_dict["b_enc"]) * state_dict.pop("topk_threshold").item()


@dataclass
class OldConfig:
    """As SAELens 5's: flat, and the architecture is a value."""

    architecture: str
    d_in: int
    d_sae: int
    activation_fn_str: str
    apply_b_dec_to_input: bool
    finetuning_scaling_factor: bool
    context_size: int
    model_name: str
    hook_name: str
    hook_layer: int
    hook_head_index: int | None
    prepend_bos: bool
    dataset_path: str
    dataset_trust_remote_code: bool
    normalize_activations: str
    dtype: str
    device: str
    sae_lens_training_version: str | None
    activation_fn_kwargs: dict = field(default_factory=dict)
    seqpos_slice: tuple = (None,)

    def to_dict(self):
        return dict(vars(self))
