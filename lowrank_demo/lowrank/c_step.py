"""The C step of the learning-compression algorithm: choose the rank of a layer, and factor it.

The scheme says how a weight tensor becomes a matrix. For a given λ and μ the step minimises over the rank r, in closed
form from the singular values s of the matrix (Idelbayev & Carreira-Perpiñán, CVPR 2020, section 4)::

    λ · cost(r) + μ/2 · Σ_{i>r} s_i²

The *normalised* variant divides the sum by ‖W‖². λ is the price of 10⁶ FLOPs, so the cost is in millions.

The true cost is what the two factors compute: U has ``rows`` weights for each rank, V has ``columns``, and each runs at
the positions of its own output. In scheme 2 the output of V has the height of the input, since only its width is
strided. The authors selected with ``r · (rows + columns) · output positions``, the *original* cost, which is the same
for scheme 1 and for linear layers. The criterion ``storage`` leaves the positions out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Criterion = Literal["flops", "storage"]
Cost = Literal["true", "original"]
"""What selection counts: the MACs of the factors as they run, or the authors' simpler count."""
COST_UNIT = 1e-6
"""λ is the price of 10⁶ FLOPs (or stored weights)."""
_BLOCK = 512
"""Rows of the Gram matrix that are computed at once."""


def to_matrix(weight: Tensor, scheme: str) -> Tensor:
    """Return a weight as the matrix whose rank is learned.

    Args:
        weight: [n, m] of a linear layer, or [n, m, k1, k2] of a convolution.
        scheme: ``scheme_1`` gives n x (m k1 k2), ``scheme_2`` gives (n k1) x (m k2).
    """
    if weight.dim() == 2:
        return weight
    n, m, k1, k2 = weight.shape
    if scheme == "scheme_1":
        return weight.reshape(n, m * k1 * k2)
    return weight.transpose(1, 2).reshape(n * k1, m * k2)


def from_matrix(matrix: Tensor, shape: torch.Size, scheme: str) -> Tensor:
    """Return the weight of this shape whose matrix is given: the inverse of :func:`to_matrix`."""
    if len(shape) == 2 or scheme == "scheme_1":
        return matrix.reshape(shape)
    n, m, k1, k2 = shape
    return matrix.reshape(n, k1, m, k2).transpose(1, 2).contiguous()


def unit_cost(rows: int, columns: int, criterion: Criterion, u_positions: int = 1, v_positions: int = 1) -> int:
    """Return the cost of one more rank: multiply-accumulates (MACs) for one image, or stored weights.

    Args:
        rows: Rows of the layer's matrix, the weights of U for each rank.
        columns: Columns of the matrix, the weights of V for each rank.
        criterion: The cost to count.
        u_positions: Output height x width of U; 1 for a linear layer.
        v_positions: Output height x width of V.
    """
    return rows + columns if criterion == "storage" else rows * u_positions + columns * v_positions


def lost_energy(singular_values: Tensor, *, normalised: bool = True) -> Tensor:
    """Return the energy that each rank from 0 to k loses, float64 [k + 1].

    Args:
        singular_values: [k], in descending order.
        normalised: Count the lost energy as a share of the whole.
    """
    energy = singular_values.double() ** 2
    # Summed from the smallest value up, because rounding would swallow the tails of large ranks otherwise.
    lost = torch.cat([energy.flip(0).cumsum(0).flip(0), energy.new_zeros(1)])
    return lost / lost[0] if normalised and lost[0] > 0 else lost


def select_rank(
    lost: Tensor, cost: float, lambda_: float, mu: float, *, dense_cost: float = float("inf"), multiple: int = 1
) -> int:
    """Return the rank, 0 to k, that minimises cost plus lost energy; the smallest rank wins a tie.

    Args:
        lost: What each rank loses, from :func:`lost_energy`.
        cost: Cost of one rank, from :func:`unit_cost`.
        lambda_: Price of 10⁶ of cost.
        mu: Weight of the lost energy.
        dense_cost: Cost of the layer as it is. No rank costs more, since the layer would then stay dense. Infinite for
            a layer that is always factored.
        multiple: Only multiples of this number, and k, are chosen.
    """
    full = len(lost) - 1
    ranks = torch.tensor(sorted({*range(0, full + 1, multiple), full}), device=lost.device)
    price = (cost * ranks.double()).clamp(max=dense_cost)
    return int(ranks[torch.argmin(lambda_ * COST_UNIT * price + mu / 2 * lost[ranks])])


@dataclass(frozen=True)
class Decomposition:
    """The singular values of a layer's matrix, and the directions of its shorter side, from which any rank follows.

    What a rank needs of the longer side is computed for that rank alone. To compute it for every rank would take as
    long again as the decomposition itself.
    """

    s: Tensor
    """Singular values in descending order, float64 [k]."""
    basis: Tensor
    """Singular vectors of the shorter side, orthonormal columns, float64 [k, k]."""
    weight: Tensor
    """What is decomposed."""
    scheme: str

    @classmethod
    def of(cls, weight: Tensor, scheme: str) -> Decomposition:
        """Decompose a weight by the eigenvalues of its smaller Gram matrix, in float64.

        This takes less time than a singular value decomposition in float32, and is more accurate. A float64 weight gets
        the slower decomposition, since the Gram matrix would halve the digits.
        """
        weight = weight.detach()
        matrix = _wide(to_matrix(weight.double(), scheme))
        if weight.dtype == torch.float64:
            basis, s, _ = torch.linalg.svd(matrix, full_matrices=False)
            return cls(s, basis, weight, scheme)
        values, vectors = torch.linalg.eigh(_gram(matrix))
        return cls(values.flip(0).clamp(min=0).sqrt(), vectors.flip(1), weight, scheme)

    def truncated(self, rank: int) -> Tensor:
        """Return the nearest weight of this rank, in the shape of the weight."""
        left, right = self._projected(rank)
        return from_matrix(left @ right, self.weight.shape, self.scheme).to(self.weight.dtype)

    def factors(self, rank: int) -> tuple[Tensor, Tensor]:
        """Return the weights of the modules ``V`` and ``U``, balanced: each has a factor √s.

        For rank 0 the factors are zero and of rank 1, since modules have at least one channel.
        """
        kept = max(rank, 1)
        left, right = self._projected(kept)
        s = self.s[:kept] if rank else torch.zeros_like(self.s[:1])
        # Basis vectors have length 1, those of the other side s. If s is nearly 0, their direction is rounding error.
        # By way of the Gram matrix, as for all but float64, half of the digits are lost.
        exact = torch.float64 if self.weight.dtype == torch.float64 else torch.float32
        root, inverse = s.sqrt(), torch.where(s > torch.finfo(exact).eps * self.s[0], s, torch.inf).rsqrt()
        if self._tall:
            root, inverse = inverse, root
        v, u = as_factors(left * root, inverse[:, None] * right, self.weight.shape, self.scheme)
        return v.to(self.weight.dtype), u.to(self.weight.dtype)

    @property
    def _tall(self) -> bool:
        rows, columns = to_matrix(self.weight, self.scheme).shape
        return rows > columns

    def _projected(self, rank: int) -> tuple[Tensor, Tensor]:
        """Return matrices [rows, rank] and [rank, columns] whose product is the nearest of this rank."""
        basis = self.basis[:, :rank]
        other = basis.T @ _wide(to_matrix(self.weight.double(), self.scheme))
        return (other.T, basis.T) if self._tall else (basis, other)


def _wide(matrix: Tensor) -> Tensor:
    """Return a matrix with its shorter side first."""
    return matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T


def _gram(matrix: Tensor) -> Tensor:
    """Return M · Mᵀ of a matrix [n, m], computed below the diagonal and in blocks on it; zero above."""
    gram = matrix.new_zeros(len(matrix), len(matrix))
    for start in range(0, len(matrix), _BLOCK):
        end = start + _BLOCK
        gram[start:, start:end] = matrix[start:] @ matrix[start:end].T
    return gram


def as_factors(left: Tensor, right: Tensor, shape: torch.Size, scheme: str) -> tuple[Tensor, Tensor]:
    """Return the weights of ``V`` and ``U`` whose product is that of two matrices.

    Args:
        left: [rows, r].
        right: [r, columns].
        shape: Shape of the weight.
        scheme: How it became a matrix.
    """
    if len(shape) == 2:
        return right, left
    n, m, k1, k2 = shape
    rank = len(right)
    if scheme == "scheme_1":
        return right.reshape(rank, m, k1, k2), left.reshape(n, rank, 1, 1)
    return (
        right.reshape(rank, m, k2).unsqueeze(2),
        left.reshape(n, k1, rank).transpose(1, 2).unsqueeze(3).contiguous(),
    )


def cut_factors(v: Tensor, u: Tensor, scheme: str, rank: int) -> tuple[Tensor, Tensor]:
    """Return the factors of the nearest product of a lower rank; the work grows with their rank r, not with the layer.

    Args:
        v: Weight of the module ``V``, [r, m], [r, m, k, k] (scheme 1) or [r, m, 1, k] (scheme 2).
        u: Weight of the module ``U``, [n, r], [n, r, 1, 1] or [n, r, k, 1].
        scheme: Scheme of the factors, if the layer is a convolution.
        rank: At least 1, below r.
    """
    shape = torch.Size((u.shape[0], v.shape[1], *(_kernel(v, u))))
    left, right = _matrices(v.detach().double(), u.detach().double())
    q_left, r_left = torch.linalg.qr(left)
    q_right, r_right = torch.linalg.qr(right.T)
    inner_u, s, inner_vh = torch.linalg.svd(r_left @ r_right.T, full_matrices=False)
    root = s[:rank].sqrt()
    left, right = q_left @ (inner_u[:, :rank] * root), root[:, None] * inner_vh[:rank] @ q_right.T
    new_v, new_u = as_factors(left, right, shape, scheme)
    return new_v.to(v.dtype), new_u.to(u.dtype)


def singular_values(v: Tensor, u: Tensor) -> Tensor:
    """Return the singular values of the product of two factors, float32 [r], in descending order.

    It works in float32, without the vectors: for fc6 at rank 1,790 that took 7 s on two processors; in float64, with
    the vectors, it took 61 s.

    Args:
        v: Weight of the module ``V``, as in :func:`cut_factors`.
        u: Weight of the module ``U``.
    """
    left, right = _matrices(v.detach().float(), u.detach().float())
    inner = torch.linalg.qr(left, mode="r").R @ torch.linalg.qr(right.T, mode="r").R.T
    return torch.linalg.svdvals(inner)


def _matrices(v: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """Return two factors as the matrices [rows, r] and [r, columns] whose product the scheme factors."""
    rank = v.shape[0]
    return u.transpose(0, 1).reshape(rank, -1).T, v.reshape(rank, -1)


def _kernel(v: Tensor, u: Tensor) -> tuple[int, ...]:
    return () if v.dim() == 2 else (v.shape[2] * u.shape[2], v.shape[3] * u.shape[3])
