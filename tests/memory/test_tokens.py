"""The estimate of tokens, against a real vocabulary."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.memory import block, recall, service
from aegis.memory.embedding.wordpiece import load_tokenizer
from aegis.memory.tokens import estimate_tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SUMS = [hashlib.sha256(str(n).encode()) for n in range(30)]
TEXTS = {
    "English": Path("docs/explanation/recall.md").read_text(encoding="utf-8"),
    "code": "".join(
        Path(module.__file__ or "").read_text(encoding="utf-8")
        for module in (block, recall, service)
    ),
    "Chinese": "数据库备份在昨晚失败，因为磁盘空间不足。我们决定每天清理日志文件。",
    "Japanese": "昨日の夜、ディスクの容量が足りなくてバックアップに失敗しました。",
    "Korean": "어젯밤 디스크 공간이 부족해서 백업이 실패했습니다. 로그를 매일 정리합니다.",
    "German": "Die Sicherung schlug letzte Nacht fehl, weil die Festplatte voll war; wir räumen "
    "künftig täglich die Protokolldateien auf.",
    "French": "La sauvegarde a échoué hier soir parce que le disque était plein; nous avons "
    "décidé de nettoyer les journaux chaque jour.",
    "Russian": "Прошлой ночью резервное копирование не удалось, потому что диск был заполнен.",
    "hexadecimal": " ".join(each.hexdigest() for each in SUMS),
    "base64": " ".join(base64.b64encode(each.digest()).decode() for each in SUMS),
    "JSON": '{"id": 12345, "ts": "2026-05-03T09:00:00+00:00", "msg": "connection refused"}\n' * 5,
    "block": "[e123 2026-05-03 error] The nightly backup failed: the disk was full.\n" * 5,
}


@cache
def _tokenizer() -> Tokenizer:
    tokenizer = load_tokenizer()
    tokenizer.no_truncation()
    return tokenizer


@pytest.mark.parametrize("kind", TEXTS)
def test_estimate_is_never_low_and_never_wild(kind: str) -> None:
    real = len(_tokenizer().encode(TEXTS[kind]).ids) - 2
    assert 1.0 <= estimate_tokens(TEXTS[kind]) / real <= 1.75


@given(st.text(), st.text())
def test_lines_add_up(first: str, second: str) -> None:
    a, b = " ".join(first.split()), " ".join(second.split())
    if not b:
        return
    assert estimate_tokens(f"{a}\n{b}") == estimate_tokens(a) + 1 + estimate_tokens(b)


def test_nothing_costs_nothing() -> None:
    assert (estimate_tokens(""), estimate_tokens("a"), estimate_tokens("\n")) == (0, 1, 1)
