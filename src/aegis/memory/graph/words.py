"""Words that decide whether something is a name: lists, and nothing else."""

from __future__ import annotations

from typing import Final

__all__ = [
    "EXTENSIONS",
    "NO_FILES",
    "NO_FIRST_NAMES",
    "NO_HANDLES",
    "NO_NAMES",
    "NO_PROJECTS",
    "NO_SPEAKERS",
    "NO_TRACKERS",
    "TOP_DOMAINS",
]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Ends of host names. Those that are ends of files too (py, rs, sh, md, pl, so) are left out.
TOP_DOMAINS: Final = _words(
    "com org net io dev app ai co edu gov mil int info biz cloud tech xyz site online store blog "
    "de fr uk eu us ca au nz jp cn in br nl be ch at se no fi dk it es pt ie cz ru ua kr sg hk tw "
    "me tv cc gg local internal lan corp home intranet svc localdomain test example"
)

#: Ends of files.
EXTENSIONS: Final = _words(
    "py pyi ipynb js mjs cjs jsx ts tsx vue svelte rs go java kt kts scala rb php pl pm c h cc cpp "
    "cxx hpp hh cs fs swift m mm lua r jl ex exs erl hs clj dart zig nim sql sh bash zsh fish ps1 "
    "bat cmd md mdx rst txt tex adoc org html htm css scss sass less json jsonl json5 yaml yml "
    "toml ini cfg conf env properties xml xsd svg png jpg jpeg gif webp ico pdf doc docx xls xlsx "
    "ppt pptx csv tsv parquet arrow db sqlite sqlite3 log lock sum mod gz zip tar tgz bz2 xz zst "
    "whl jar so dll exe bin o a proto graphql tf tfvars hcl nix dockerfile service pem crt key pub "
    "diff patch bak tmp wav mp3 mp4 mov"
)

#: Look like files, and are programs.
NO_FILES: Final = _words(
    "node.js next.js nuxt.js vue.js react.js express.js three.js d3.js chart.js angular.js deno.js "
    "ember.js backbone.js socket.io asp.net vb.net ado.net i.e e.g a.m p.m"
)

#: Not somebody's handle: decorators, annotations, what mail and chat programs write.
NO_HANDLES: Final = _words(
    "property dataclass staticmethod classmethod abstractmethod override overload pytest fixture "
    "contextmanager asynccontextmanager cached_property lru_cache cache wraps app router task "
    "param params return returns throws raises see since deprecated author version todo example "
    "type typedef link import media keyframes font-face supports charset layer tailwind apply "
    "autowired bean component service repository controller entity test before after nullable "
    "nonnull suppresswarnings inject module everyone here channel all team latest next staging"
)

#: Before a colon at the start of a line, and yet not somebody who speaks.
NO_SPEAKERS: Final = _words(
    "note notes warning error errors info debug critical fatal trace todo fixme hack fix fixed bug "
    "user assistant system human ai bot agent tool function model role content message subject "
    "from to cc bcc date sent re fwd summary details detail description title name status result "
    "results output input question answer example examples usage returns raises args arguments "
    "parameters params yields see also tip hint important caution danger step steps goal goals "
    "plan task tasks action actions decision context background problem solution cause reason "
    "root impact fix expected actual before after update updated changed added removed deprecated "
    "security refs ref closes signed-off-by co-authored-by reviewed-by the this that these those "
    "what why how when where who which here there then now next first second third finally "
    "conclusion option options pros cons one two three four five key value type kind time total "
    "cost price version release changelog features feature improvements lesson lessons learned "
    "outcome outcomes today yesterday tomorrow monday tuesday wednesday thursday friday saturday "
    "sunday january february march april may june july august september october november december "
    "environment server client database host port url path file files folder directory command "
    "commands code test tests build deploy deployment ps eta tldr faq edit thanks dear hi hello "
    "request response header headers body log logs metrics alert alerts"
)

#: Before a number, and yet no tracker of tickets.
NO_TRACKERS: Final = _words(
    "UTF UTF8 UCS ISO IEC SHA SHA1 SHA2 SHA3 MD RSA AES DES ECDSA ED CRC RFC PEP HTTP TLS SSL TCP "
    "UDP IPV IP ASCII GPT LLAMA BERT T5 COVID SARS CVE CWE ANSI IEEE DIN EN MP MPEG H USB PCI "
    "DDR RAM CPU GPU RTX GTX X ARM RISC I Q FY CY KB MB GB TB AM PM UTC GMT CET EST PST WW PS "
    "A B C D E F TOP STEP PART PHASE LEVEL TYPE COL ROW DAY WEEK YEAR ES ECMA C99 LTS"
)

#: Never the first part of a person's name.
NO_FIRST_NAMES: Final = _words(
    "the a an this that these those my our your his her their its we i you he she it they and or "
    "but if when while after before since because so then also however today yesterday tomorrow "
    "in on at by for from to with of as is was are were be been do does did has have had will "
    "would can could should may might must not no yes please thanks thank dear hi hello hey ask "
    "asked tell told met meet meeting call called emailed email with between both either let "
    "what why how where who which there here mr mrs ms dr prof sir madam"
)

#: Never a part of a person's name.
NO_NAMES: Final = _words(
    "monday tuesday wednesday thursday friday saturday sunday january february march april june "
    "july august september october november december north south east west new united states "
    "kingdom san los las city street road avenue lane park square bridge river lake mountain "
    "island bay beach valley university college school institute department ministry company "
    "group team bank hotel airport station museum church hospital center centre office market "
    "machine learning deep data science computer software engineer engineering manager director "
    "president officer chief senior junior lead head product project program service services "
    "system systems server client database api sdk cli ui ux web cloud code visual studio google "
    "microsoft amazon apple facebook meta openai anthropic claude github gitlab docker kubernetes "
    "postgres postgresql python java javascript typescript rust linux windows macos ubuntu debian "
    "redis kafka mongo mongodb mysql sqlite elastic spark airflow terraform ansible jenkins "
    "internet protocol security network error warning exception stack trace pull request merge "
    "issue ticket sprint release version support desk help happy birthday christmas easter "
    "thanksgiving halloween good morning evening night best regards kind sincerely black white red "
    "green blue star wars harry potter lord rings world war cup league open source first second "
    "third last next great grand royal national international american british french german "
    "european chinese japanese indian spanish italian street food game games book movie music "
    "festival concert tour trip day week month year"
)

#: After "project", and yet not its name.
NO_PROJECTS: Final = _words(
    "manager management lead leader plan planning team board owner status update updates kickoff "
    "review meeting budget scope timeline deadline members structure root name names description "
    "settings setup files the this that is was has i we it in on for with to from and or a an of "
    "readme overview summary goals milestones requirements documentation docs tasks"
)
