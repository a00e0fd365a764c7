"""Names of columns that speak of a person, in English, German, French, Italian and Spanish.

Tables of hospitals are written in the language of the hospital. What is known of it stands here once: which
columns may say who a person is, and which hold the numbers by which a hospital knows her.
"""

import re
import unicodedata
from typing import Final

# Who is in the images, and the papers that a hospital keeps for each of them.
PERSONS: Final = (
    "patient(?:e|en|in|innen)?|paziente|paciente|subject|subjekt|sujet|soggetto|sujeto|persona?|personne|"
    "participante?|partecipante|proband(?:en|in|innen)?|woman|frau|femme|donna|mujer|client|klient|donor|"
    "case|cas|caso"
)
SHORT_PERSONS: Final = "pat|pt|subj"
PAPERS: Final = (
    "fall|akten?|patientenakten?|krankenakten?|dossier(?: ?medical)?|cartella(?: ?clinica)?|"
    "historia(?: ?clinica)?|expediente"
)
# A number or a code by which something is known, and what may stand between it and whose it is.
NUMBERS: Final = (
    "id|uid|guid|no|nr|num|number|code|nummer|numero|kennung|kennzeichen|zeichen|schlue?ssel|codice|codigo|"
    "identifier|identifikation|identification|identifiant|identificativo|identificador|matricule|matricola"
)
LINKS: Final = "(?:(?:d|de|du|del|della|dell|di|der|des) ?)?(?:(?:la|l) ?)?"
_EXAMS: Final = (
    "record|exam|study|series|accession|studien?|serien?|befund|untersuchungs?|auftrags?|anforderungs?|"
    "aufnahme|zugangs?|examen|etude|serie|esame|referto|studio|estudio|informe"
)
_INSTANCE: Final = "(?:(?:sop|study|series) ?)?instance"
_KEYS: Final = "key|index|cle|clave|chiave"  # before a word they mean something else: an index case

_SAYS_WHO: Final = re.compile(
    "name|birth|address|phone|mail|insurance|ssn|doctor|physician"
    "|geburt|geb ?dat|adresse|anschrift|strasse|postleitzahl|wohnort|telefon|handy|versicher|krankenkasse"
    "|arzt|aerzt"
    "|prenom|patiente?nom|naissance|courriel|domicile|assurance|securite sociale|code ?postal|medecin"
    r"|\bnoms?\b|\bnom ?(d[eu] )?(l[ae] )?(famille|patient)"
    "|cognome|nascita|indirizzo|codice ?fiscale|assicura|medico|residenza"
    r"|\bnom[ei]\b|\bnome ?(del(la)? )?paziente"
    "|apellido|nacimiento|direccion|domicilio|correo|seguro|codigo ?postal"
    r"|\bnombres?$|\bnombres? ?(y|completo|(de )?(la |el )?pacient)"
    r"|\b(dob|ddn|plz|tel|adr|ville|rue|nss|dni|nif)\b"
)
_IDENTIFIES: Final = re.compile(
    rf"(.* )?(mrn|pid|guid|uid|id|accession|identifier|identifi(ant|cativo|cador)|aktenzeichen|matricul[ae]"
    rf"|matricola|ipp|nhc)s?"
    rf"|.*(nummer|(?<!er)kennung)n?"  # Erkennung is detection
    rf"|({PERSONS})s?|{PAPERS}"
    rf"|({PERSONS}|{SHORT_PERSONS}|{PAPERS}|{_EXAMS}|{_INSTANCE}) ?({NUMBERS}|{_KEYS})s?"
    rf"|({NUMBERS}) ?{LINKS}({PERSONS}|{SHORT_PERSONS}|{PAPERS}|{_EXAMS})"
)


def words_of(name: str) -> str:
    """Return a name in lower case and without accents, with one blank between its words.

    >>> words_of("Patienten-Nr."), words_of("N° de dossier"), words_of("date_Né(e)")
    ('patienten nr', 'no de dossier', 'date ne e')
    """
    spelt = unicodedata.normalize("NFKD", name.replace("°", "o").casefold())
    bare = "".join(letter for letter in spelt if not unicodedata.combining(letter))
    return re.sub(r"[^a-z0-9]+", " ", bare).strip()


def says_who(column: str) -> bool:
    """True for a column that may say who a person is: a name, a date of birth, an address, an insurance.

    >>> [says_who(name) for name in ("Geburtsdatum", "nom", "indirizzo", "carcinoma", "nombre de lésions")]
    [True, True, True, False, False]
    """
    return _SAYS_WHO.search(words_of(column)) is not None


def identifies(column: str) -> bool:
    """True for a column by whose values a person, an examination or an image is known.

    >>> [identifies(name) for name in ("patient_no", "CaseID", "mrn", "study date", "patient_age", "lesions")]
    [True, True, True, False, False, False]
    >>> [identifies(name) for name in ("Fallnummer", "N° de dossier", "codice paziente", "Fallzahl", "pT")]
    [True, True, True, False, False]
    """
    return _IDENTIFIES.fullmatch(words_of(column)) is not None
