"""The policy: a Haiku transformer, its tokenizer, its weights, and the engine that samples from it."""

from policy.download import smollm2 as smollm2
from policy.engine import Engine as Engine
from policy.export import export as export
from policy.lora import Adapter as Adapter
from policy.lora import merge as merge
from policy.lora import read_adapter as read_adapter
from policy.lora import write_adapter as write_adapter
from policy.pretrained import from_scratch as from_scratch
from policy.pretrained import pretrained as pretrained
from policy.requests import SamplingOptions as SamplingOptions
from policy.tokenizer import ByteTokenizer as ByteTokenizer
from policy.tokenizer import PretrainedTokenizer as PretrainedTokenizer
from policy.tokenizer import Tokenizer as Tokenizer
from policy.tokenizer import prompt_tokens as prompt_tokens
from policy.transformer import Policy as Policy
from policy.transformer import make_policy as make_policy
from policy.types import Completion as Completion
from policy.types import Model as Model
from policy.types import Params as Params
from policy.types import TransformerConfig as TransformerConfig
from policy.types import Versioned as Versioned
