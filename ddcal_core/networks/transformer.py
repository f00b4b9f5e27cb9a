"""A small vision transformer."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ddcal_core.networks.layers import META, Network, sequence

MLP_RATIO = 2
TOKEN_DEVIATION = 0.02


class VisionTransformer(Network):
    """ViT: patches as tokens, blocks of attention and MLP, one linear layer on the class token.

    Each patch becomes a token by a linear map; a learned class token goes before them and a
    learned position is added to each. Norms stand before attention and MLP, and one before the
    linear layer. The MLP is twice as wide as a token. Images whose sides the patches do not divide
    are padded by zeros, the mean colour, below and to the right. No dropout. No layer differs
    between training and evaluation, none mixes images.

    Args:
        n_channels: C of the images.
        n_classes: K, number of logits.
        image_size: (H, W) of the images.
        width: of each token.
        depth: number of blocks.
        heads: of each attention; divides the width.
        patch_size: side of a patch in pixels, at most the image's smaller side.

    Raises:
        ValueError: a patch is larger than the image.

    Source:
        Dosovitskiy et al., ICLR 2021; the narrow form for small images is the ViT-Lite of Hassani
        et al., arXiv 2104.05704 (theirs: width 256, 6 or 7 blocks of 4 heads, the same MLP ratio).
    """

    def __init__(
        self,
        n_channels: int,
        n_classes: int,
        image_size: tuple[int, int],
        width: int,
        depth: int,
        heads: int,
        patch_size: int,
    ) -> None:
        if patch_size > min(image_size):
            raise ValueError(
                f"wanted a patch size of at most {min(image_size)} for images of "
                f"{image_size[0]} x {image_size[1]}, got {patch_size}"
            )
        with META:
            blocks = {f"block{k}": TransformerBlock(width, heads) for k in range(depth)}
            features = sequence(
                tokens=Tokens(n_channels, image_size, width, patch_size),
                **blocks,
                norm=nn.LayerNorm(width),
                first=FirstToken(),
            )
        super().__init__(features, width, n_classes)


class Tokens(nn.Module):
    """Images as sequences: the class token, then one token a patch, row by row.

    Args:
        n_channels: C of the images.
        image_size: (H, W) of the images.
        width: of each token.
        patch_size: side of a patch in pixels.
    """

    def __init__(
        self, n_channels: int, image_size: tuple[int, int], width: int, patch_size: int
    ) -> None:
        super().__init__()
        high, wide = (-(-side // patch_size) for side in image_size)
        missing = (high * patch_size - image_size[0], wide * patch_size - image_size[1])
        self.padding = (0, missing[1], 0, missing[0])
        self.patches = nn.Conv2d(n_channels, width, patch_size, stride=patch_size)
        self.class_token = nn.Parameter(torch.empty(1, 1, width))
        self.positions = nn.Parameter(torch.empty(1, 1 + high * wide, width))

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to (N, 1 + number of patches, width)."""
        patches = self.patches(functional.pad(images, self.padding)).flatten(2).transpose(1, 2)
        class_token = self.class_token.expand(images.shape[0], -1, -1)
        return torch.cat([class_token, patches], 1) + self.positions

    def draw_parameters(self, generator: torch.Generator) -> None:
        """Draw class token and positions from N(0, 0.02^2), as Dosovitskiy et al. do."""
        for parameter in (self.class_token, self.positions):
            drawn = torch.empty(parameter.shape).normal_(0, TOKEN_DEVIATION, generator=generator)
            with torch.no_grad():
                parameter.copy_(drawn)


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)).

    Args:
        width: of each token.
        heads: of the attention; divides the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm0 = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm1 = nn.LayerNorm(width)
        self.mlp = sequence(
            up=nn.Linear(width, MLP_RATIO * width),
            gelu=nn.GELU(),
            down=nn.Linear(MLP_RATIO * width, width),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T, width) to the same shape."""
        tokens = tokens + self._attend(self.norm0(tokens))
        changed: Tensor = tokens + self.mlp(self.norm1(tokens))
        return changed

    def _attend(self, tokens: Tensor) -> Tensor:
        by_head = self.query_key_value(tokens).unflatten(2, (3, self.heads, -1))
        query, key, value = by_head.permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(query, key, value)
        mixed: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return mixed


class FirstToken(nn.Module):
    """The class token alone."""

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T, width) to (N, width)."""
        return tokens[:, 0]
