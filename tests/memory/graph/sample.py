"""Texts of the kinds that agents remember, with the entities that a reader finds in them."""

from __future__ import annotations

from typing import Final

SAMPLE: Final[list[tuple[str, list[str]]]] = [
    (
        "Deployed commit 3fa9c1d to web-1.internal; rollback plan in ops/rollback.md.",
        ["commit:3fa9c1d", "host:web-1.internal", "file:ops/rollback.md"],
    ),
    (
        "Alice: can you review https://github.com/acme/rocket/pull/77 before noon?",
        ["person:Alice", "url:https://github.com/acme/rocket/pull/77", "project:acme/rocket"],
    ),
    ("Error: connection refused to 10.0.3.17:5432 (ECONNREFUSED)", ["host:10.0.3.17"]),
    ("Note: UTF-8 and SHA-256 are fine, GPT-4 too.", []),
    ("PAY-1042 blocks PAY-1050; see #12.", ["ticket:PAY-1042", "ticket:PAY-1050", "ticket:#12"]),
    (
        "Mailed maria.garcia@example.com and bob+test@mail.example.org about the invoice.",
        ["email:maria.garcia@example.com", "email:bob+test@mail.example.org"],
    ),
    ("@carol-dev and @dan merged it. Use @property here.", ["person:carol-dev", "person:dan"]),
    ("The and/or switch takes 1/2 of the client/server time.", []),
    ("Maria Garcia met Maria Garcia's brother.", ["person:Maria Garcia"]),
    ("New York and Los Angeles are far from San Francisco, New York is east.", []),
    ("Signed with Acme Widgets Inc. and Muster GmbH on Monday.",
     ["organisation:Acme Widgets Inc", "organisation:Muster GmbH"]),
    ("Project Apollo slips; the project is late and project management knows.", ["project:Apollo"]),
    ("see repo `billing-core` and repository data_lake",
     ["project:billing-core", "project:data_lake"]),
    ("TODO: fix config.yaml and /etc/nginx/nginx.conf on api.example.com",
     ["file:config.yaml", "file:/etc/nginx/nginx.conf", "host:api.example.com"]),
    ("Upgraded node.js to v20.11.1 and pandas 2.2.0, e.g. for speed.", []),
    ("Bob Smith: I told Eve\nEve: no", ["person:Bob Smith", "person:Eve"]),
    ("curl http://localhost:8080/health?x=1 returned 503",
     ["url:http://localhost:8080/health?x=1"]),
    ("commit deadbeefdeadbeefdeadbeefdeadbeefdeadbee1 breaks acme/rocket#9",
     ["commit:deadbeefdeadbeefdeadbeefdeadbeefdeadbee1", "project:acme/rocket",
      "ticket:acme/rocket#9"]),
    (r"Opened C:\Users\ann\report.docx again", [r"file:C:\Users\ann\report.docx"]),
    ("User prefers dark mode. Summary: they like tea.", []),
    ("Step 1: pip install foo. Step 2: run it.", []),
    ("Die Ärztin Jürgen-Möller: bitte morgen anrufen", []),
    ("Émile Zola: j'accuse", ["person:Émile Zola"]),
    ("ssh admin@db.example.com -p 22", ["email:admin@db.example.com"]),
    ("import numpy as np; np.array([1]); self.value = x.y.z", []),
    ("def main(): return os.path.join(a, b)", []),
    ("Ports 80, 443 and ratio 3:1 at 12:30:45 on 2026-05-01.", []),
    ("Moved src/aegis/memory/service.py to ~/archive/service.py",
     ["file:src/aegis/memory/service.py", "file:~/archive/service.py"]),
    ("The colour #fff and #42a are not tickets; &#42; neither.", []),
    ("2001:db8::1 answered, 300.1.1.1 is no address", ["host:2001:db8::1"]),
    ("I use npm i @types/node and @angular/core.", []),
    ("Lunch with Sam about the roadmap", ["person:Sam"]),
    ("The login page of rocket is slow, says Frida", ["project:rocket", "person:Frida"]),
]  # fmt: skip
