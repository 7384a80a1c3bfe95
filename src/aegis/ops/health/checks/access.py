"""Who gets in, and what they may: pg_hba, superusers, PUBLIC, functions, columns with secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aegis.ops.health.looking import check, rows, value
from aegis.ops.health.models import CouldNotCheck, Limits, Seen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection
    from aegis.ops.health.models import Ask

__all__ = ["CHECKS"]

#: Names of columns that hold secrets or what identifies people; digests of secrets are none.
_SECRETS: Final = (
    r"(^|_)(password|passwd|pwd|passphrase|secret|secret_key|private_key|api_key|apikey|access_key"
    r"|auth_key|access_token|refresh_token|auth_token|session_token|bearer_token|oauth_token|token"
    r"|otp|totp_secret|pin|ssn|social_security|national_id|passport|iban|credit_card|card_number"
    r"|cvv|cvc|routing_number|bank_account|encryption_key|client_secret|webhook_secret)$"
)


@check(
    "hba-trust",
    "access",
    "Logins without a password",
    means="Whoever reaches the port is whom they say they are.",
    advice="Write scram-sha-256, or peer for the socket, into pg_hba.conf and reload.",
)
async def hba_trust(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """List lines of pg_hba.conf with `trust`; from other machines it is critical."""
    del ask
    found = await rows(
        conn,
        """
        SELECT
            line_number,
            type,
            array_to_string(database, ','),
            array_to_string(user_name, ','),
            coalesce(address, ''),
            type = 'local' OR address IN ('127.0.0.1', '::1', 'localhost')
                OR address LIKE '127.%' OR address = 'samehost'
        FROM pg_hba_file_rules
        WHERE auth_method = 'trust'
          AND error IS NULL
        ORDER BY line_number
        """,
    )
    return [
        Seen(
            object=f"line {line}",
            observed=f"{kind} {databases} {users} {address} trust".replace("  ", " "),
            state=None if local else "critical",
        )
        for line, kind, databases, users, address, local in found
    ]


@check(
    "hba-weak",
    "access",
    "Logins with weak methods",
    means="md5 can be replayed and broken; password sends it in clear.",
    advice="SET password_encryption = 'scram-sha-256', set passwords anew, write scram-sha-256.",
)
async def hba_weak(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """List lines with md5, password or ident."""
    del ask
    found = await rows(
        conn,
        """
        SELECT line_number, type, array_to_string(user_name, ','), coalesce(address, ''),
               auth_method
        FROM pg_hba_file_rules
        WHERE auth_method IN ('md5', 'password', 'ident')
          AND error IS NULL
        ORDER BY line_number
        """,
    )
    return [
        Seen(
            object=f"line {line}",
            observed=f"{kind} {users} {address} {method}".replace("  ", " "),
            state="critical" if method == "password" and kind != "local" else None,
        )
        for line, kind, users, address, method in found
    ]


@check(
    "hba-errors",
    "access",
    "Lines of pg_hba.conf that cannot be read",
    means="A reload keeps the old rules; a restart does not come up.",
    advice="Correct the line, then SELECT pg_reload_conf();",
    limits=Limits(level="critical"),
)
async def hba_errors(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """List them."""
    del ask
    found = await rows(
        conn,
        "SELECT line_number, error FROM pg_hba_file_rules WHERE error IS NOT NULL ORDER BY 1",
    )
    return [Seen(object=f"line {line}", observed=error) for line, error in found]


@check(
    "passwords-md5",
    "access",
    "Passwords kept as md5",
    means="A copy of the catalog is enough to log in.",
    advice="Set password_encryption to scram-sha-256, then set the passwords anew.",
)
async def passwords_md5(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Look at password_encryption, and at roles where that may be read."""
    del ask
    seen: list[Seen] = []
    if await value(conn, "SELECT current_setting('password_encryption')") == "md5":
        fix = "ALTER SYSTEM SET password_encryption = 'scram-sha-256'; SELECT pg_reload_conf();"
        seen.append(Seen(object="password_encryption", observed="is md5", fix=fix))
    readable = await value(conn, "SELECT has_table_privilege('pg_authid', 'SELECT')")
    if not readable:
        if not seen:
            raise CouldNotCheck("only a superuser may read how passwords are kept")
        return seen
    found = await rows(
        conn, "SELECT rolname FROM pg_authid WHERE rolpassword LIKE 'md5%' ORDER BY 1"
    )
    return [*seen, *(Seen(object=f"role {name}", observed="md5") for (name,) in found)]


@check(
    "superusers",
    "access",
    "Superusers that may log in",
    means="Each may read, change and switch off everything, this check included.",
    advice="Give roles what they need; keep the one that made the cluster.",
    limits=Limits(warning=1, critical=10),
    unit="beside the first",
)
async def superusers(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Count those beside the one that made the cluster."""
    del ask
    found = await rows(
        conn,
        "SELECT rolname FROM pg_roles WHERE rolsuper AND rolcanlogin AND oid <> 10 ORDER BY 1",
    )
    names = ", ".join(name for (name,) in found[:10])
    return [Seen(observed=names or "none beside the first", value=len(found))]


@check(
    "public-schema",
    "access",
    "Schemas that everybody may create in",
    means="A function that somebody puts there may run with another one's rights.",
    advice="Revoke it.",
)
async def public_schema(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """List schemas in which PUBLIC has CREATE."""
    del ask
    found = await rows(
        conn,
        """
        SELECT n.nspname, format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC;', n.nspname)
        FROM pg_namespace n
        CROSS JOIN LATERAL aclexplode(n.nspacl) a
        WHERE a.grantee = 0
          AND a.privilege_type = 'CREATE'
        ORDER BY 1
        """,
    )
    return [Seen(object=name, observed="PUBLIC has CREATE", fix=fix) for name, fix in found]


@check(
    "public-grants",
    "access",
    "Tables that everybody may read or write",
    means="Any role that may connect may do it.",
    advice="Revoke it, and grant it to the roles that need it.",
)
async def public_grants(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """List tables with a right of PUBLIC, extensions' own left out."""
    del ask
    found = await rows(
        conn,
        """
        SELECT
            c.oid::regclass::text,
            string_agg(DISTINCT a.privilege_type, ', ' ORDER BY a.privilege_type),
            format('REVOKE ALL ON %s FROM PUBLIC;', c.oid::regclass)
        FROM pg_class c
        CROSS JOIN LATERAL aclexplode(c.relacl) a
        WHERE a.grantee = 0
          AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
          AND c.relnamespace NOT IN (
              SELECT oid FROM pg_namespace WHERE nspname IN ('pg_catalog', 'information_schema')
          )
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
        GROUP BY c.oid
        ORDER BY 1
        """,
    )
    return [Seen(object=n, observed=f"PUBLIC has {what}", fix=fix) for n, what, fix in found]


@check(
    "definer-functions",
    "access",
    "Functions with their owner's rights and the caller's search_path",
    means="Whoever calls them chooses what their names mean, with the owner's rights.",
    advice="Set their search_path.",
)
async def definer_functions(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """List SECURITY DEFINER functions without a search_path of their own."""
    del ask
    found = await rows(
        conn,
        """
        SELECT p.oid::regprocedure::text,
               format('ALTER FUNCTION %s SET search_path = pg_catalog, %I;',
                      p.oid::regprocedure, n.nspname)
        FROM pg_proc p
        JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE p.prosecdef
          AND n.nspname NOT IN ('pg_catalog', 'information_schema')
          AND NOT EXISTS (
              SELECT FROM unnest(p.proconfig) AS setting WHERE setting LIKE 'search_path=%'
          )
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
        ORDER BY 1
        """,
    )
    return [Seen(object=name, observed="no search_path", fix=fix) for name, fix in found]


@check(
    "secret-columns",
    "access",
    "Columns that look like secrets",
    means="Whoever reads the table or a backup reads them in clear.",
    advice="Keep a hash where a hash will do, encrypt the column, or mute it if it is none.",
)
async def secret_columns(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """List text columns whose name says that they hold a secret."""
    del ask
    found = await rows(
        conn,
        """
        SELECT c.oid::regclass::text || '.' || quote_ident(a.attname), t.typname
        -- The names of thousands of columns are few: each is matched once.
        FROM (
            SELECT DISTINCT attname FROM pg_attribute WHERE attrelid >= 16384 AND attnum > 0
        ) names
        JOIN pg_attribute a ON a.attname = names.attname
        JOIN pg_class c ON c.oid = a.attrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_type t ON t.oid = a.atttypid
        WHERE c.relkind IN ('r', 'p', 'f')
          AND NOT c.relispartition
          AND a.attnum > 0
          AND NOT a.attisdropped
          AND t.typname IN ('text', 'varchar', 'bpchar', 'bytea', 'json', 'jsonb', 'citext')
          AND n.nspname NOT IN ('pg_catalog', 'information_schema')
          AND names.attname ~* %(names)s
        ORDER BY 1
        """,
        {"names": _SECRETS},
    )
    return [Seen(object=name, observed=f"{kind} in clear") for name, kind in found]


@check(
    "unencrypted-clients",
    "access",
    "Clients from other machines without TLS",
    means="What they ask and get can be read on the way.",
    advice="Set ssl = on and write hostssl into pg_hba.conf.",
)
async def unencrypted_clients(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """List users that are connected in clear from elsewhere."""
    del ask
    found = await rows(
        conn,
        """
        SELECT coalesce(a.usename, '?') || '@' || host(a.client_addr), count(*)
        FROM pg_stat_ssl s
        JOIN pg_stat_activity a USING (pid)
        WHERE NOT s.ssl
          AND a.client_addr IS NOT NULL
          AND NOT a.client_addr << inet '127.0.0.0/8'
          AND a.client_addr <> inet '::1'
        GROUP BY 1
        ORDER BY 1
        """,
    )
    return [Seen(object=who, observed=f"{count} connection(s)") for who, count in found]


CHECKS = (
    hba_trust,
    hba_weak,
    hba_errors,
    passwords_md5,
    superusers,
    public_schema,
    public_grants,
    definer_functions,
    secret_columns,
    unencrypted_clients,
)
