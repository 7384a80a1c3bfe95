"""What the pages of the corpus say, in six languages."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["WORDS", "Words"]


@dataclass(frozen=True)
class Words:
    """A site's language."""

    plans: str
    headline: str
    other_headline: str
    month: str
    seats: str
    support: str
    lead: str
    sentences: tuple[str, ...]
    news: str
    cookies: str
    quotes: tuple[str, ...]
    viewing: str
    updated: str
    ago: str
    money: str
    nav: tuple[str, ...]
    extra: str


WORDS = {
    "en": Words(
        "Plans and pricing", "Ship faster with Acme", "Build better with Acme", "/ month",
        "{n} seats included", "Priority support by e-mail", "One platform for the whole team.",
        (
            "Reports are exported as PDF every night and kept for a year.",
            "Single sign-on works with every provider that speaks SAML.",
            "Data is stored in Frankfurt and never leaves the region.",
            "The free trial lasts fourteen days and needs no credit card.",
            "Backups run each hour and can be restored by an administrator.",
        ),
        "We raised our limits for everybody", "We use cookies to improve this site. Accept all",
        ("Acme saved us weeks. – Dana", "Best tool this year. – Lee", "I sleep again. – Ola",
         "It simply works. – Kim"),
        "{n} people are viewing this page", "Last updated: {d}", "posted {n} minutes ago",
        "${a}", ("Product", "Pricing", "Docs"), "Now also with an audit log for administrators.",
    ),
    "de": Words(
        "Preise und Tarife", "Schneller ausliefern mit Acme", "Besser bauen mit Acme", "pro Monat",
        "{n} Plätze enthalten", "Bevorzugter Support per E-Mail", "Eine Plattform für alle.",
        (
            "Berichte werden jede Nacht als PDF exportiert und ein Jahr aufbewahrt.",
            "Die einmalige Anmeldung funktioniert mit jedem Anbieter, der SAML spricht.",
            "Daten liegen in Frankfurt und verlassen die Region nie.",
            "Die Testphase dauert vierzehn Tage und braucht keine Kreditkarte.",
            "Sicherungen laufen stündlich und lassen sich jederzeit einspielen.",
        ),
        "Höhere Grenzen für alle", "Wir verwenden Cookies. Alle akzeptieren",
        ("Acme spart uns Wochen. – Dana", "Das beste Werkzeug. – Lee", "Endlich Ruhe. – Ola",
         "Läuft einfach. – Kim"),
        "{n} Personen sehen sich diese Seite an", "Zuletzt aktualisiert: {d}",
        "vor {n} Minuten veröffentlicht", "{c} €", ("Produkt", "Preise", "Doku"),
        "Jetzt auch mit Prüfprotokoll für Administratoren.",
    ),
    "fr": Words(
        "Tarifs et formules", "Livrez plus vite avec Acme", "Construisez mieux avec Acme",
        "par mois", "{n} places comprises", "Assistance prioritaire par courriel",
        "Une plateforme pour toute l’équipe.",
        (
            "Les rapports sont exportés en PDF chaque nuit et gardés un an.",
            "L’authentification unique fonctionne avec tout fournisseur SAML.",
            "Les données sont stockées à Francfort et n’en sortent jamais.",
            "L’essai gratuit dure quatorze jours sans carte bancaire.",
            "Les sauvegardes ont lieu toutes les heures.",
        ),
        "Des limites plus hautes pour tous", "Nous utilisons des cookies. Tout accepter",
        ("Acme nous fait gagner du temps. – Dana", "Le meilleur outil. – Lee",
         "Je dors mieux. – Ola", "Ça marche. – Kim"),
        "{n} personnes consultent cette page", "Mis à jour le {d}", "il y a {n} minutes",
        "{c} €", ("Produit", "Tarifs", "Docs"), "Avec un journal d’audit pour les administrateurs.",
    ),
    "es": Words(
        "Planes y precios", "Entrega más rápido con Acme", "Construye mejor con Acme", "al mes",
        "{n} puestos incluidos", "Soporte prioritario por correo",
        "Una plataforma para todo el equipo.",
        (
            "Los informes se exportan en PDF cada noche y se guardan un año.",
            "El inicio de sesión único funciona con cualquier proveedor SAML.",
            "Los datos se guardan en Fráncfort y nunca salen de la región.",
            "La prueba dura catorce días y no pide tarjeta.",
            "Las copias se hacen cada hora y se pueden restaurar.",
        ),
        "Límites más altos para todos", "Usamos cookies. Aceptar todas",
        ("Acme nos ahorra semanas. – Dana", "La mejor herramienta. – Lee", "Duermo mejor. – Ola",
         "Funciona. – Kim"),
        "{n} personas ven esta página", "Actualizado: {d}", "hace {n} minutos",
        "{c} €", ("Producto", "Precios", "Docs"), "Ahora con registro de auditoría.",
    ),
    "pl": Words(
        "Cennik i plany", "Wdrażaj szybciej z Acme", "Buduj lepiej z Acme", "/ miesiąc",
        "{n} miejsc w cenie", "Priorytetowe wsparcie e-mail", "Jedna platforma dla zespołu.",
        (
            "Raporty są co noc eksportowane do PDF i przechowywane przez rok.",
            "Logowanie jednokrotne działa z każdym dostawcą SAML.",
            "Dane są przechowywane we Frankfurcie i nie opuszczają regionu.",
            "Okres próbny trwa czternaście dni i nie wymaga karty.",
            "Kopie zapasowe powstają co godzinę.",
        ),
        "Wyższe limity dla wszystkich", "Używamy plików cookie. Akceptuj wszystkie",
        ("Acme oszczędza tygodnie. – Dana", "Najlepsze narzędzie. – Lee", "Śpię lepiej. – Ola",
         "Po prostu działa. – Kim"),
        "{n} osób ogląda tę stronę", "Stan: {d}", "opublikowano {n} minut temu",
        "{c} zł", ("Produkt", "Cennik", "Dokumentacja"), "Teraz także z dziennikiem audytu.",
    ),
    "ja": Words(
        "料金プラン", "Acmeでより速く届ける", "Acmeでより良く作る", "/月",
        "{n}席を含む", "優先メールサポート", "チーム全員のための一つの基盤。",
        (
            "レポートは毎晩PDFとして書き出され、一年間保存されます。",
            "シングルサインオンはSAMLに対応したすべての事業者で使えます。",
            "データはフランクフルトに保存され、地域の外に出ることはありません。",
            "無料お試しは十四日間で、クレジットカードは不要です。",
            "バックアップは毎時間行われ、管理者が復元できます。",
        ),
        "すべての方の上限を引き上げました", "当サイトはクッキーを使用します。すべて許可",
        ("何週間も節約できました。ダナ", "今年一番の道具。リー",
         "よく眠れます。オラ", "動きます。キム"),
        "現在{n}人が閲覧中", "更新日：{d}", "{n}分前に投稿", "¥{j}",
        ("製品", "料金", "資料"), "管理者向けの監査ログも利用できます。",
    ),
}  # fmt: skip
