"""Columns that speak of a person are known in the languages in which hospitals write their tables."""

import pytest

from trainables.data.personal_names import identifies, says_who
from trainables.data.sources.telling_names import may_be_patients

WHO = {
    "English": ["patient_name", "Date of Birth", "DOB", "address", "phone no", "insurance", "physician"],
    "German": [
        "Geburtsdatum",
        "Geb.-Datum",
        "Adresse",
        "Anschrift",
        "Straße",
        "PLZ",
        "Telefon",
        "Hausärztin",
    ],
    "French": ["Nom", "Prénom", "date_naissance", "adresse", "téléphone", "N° sécurité sociale", "médecin"],
    "Italian": ["nome", "Cognome", "data di nascita", "indirizzo", "telefono", "codice fiscale", "medico"],
    "Spanish": ["nombre", "Apellidos", "fecha de nacimiento", "dirección", "teléfono", "DNI", "médico"],
}
IDS = {
    "English": ["patient_no", "CaseID", "mrn", "accession number"],
    "German": [
        "Patienten-Nr",
        "Patientennummer",
        "Fallnummer",
        "Fall-ID",
        "Patientenkennung",
        "Befundnummer",
    ],
    "French": ["numéro de dossier", "N° patient", "identifiant", "id_patient", "IPP", "numéro d'examen"],
    "Italian": ["codice paziente", "ID_paziente", "numero cartella clinica", "identificativo"],
    "Spanish": ["código paciente", "Nº historia clínica", "NHC", "expediente", "id de la paciente"],
}
PATIENTS = {
    "English": ["pat_id", "Case No", "mrn", "subject"],
    "German": ["Patienten-Nr", "Patientennummer", "Patientin", "Fallnummer", "Fall", "Proband", "Akten-Nr"],
    "French": ["numéro de dossier", "id_patient", "code patient", "patiente", "IPP"],
    "Italian": ["codice paziente", "paziente", "id_paziente", "caso"],
    "Spanish": ["código paciente", "paciente", "Nº historia clínica", "expediente"],
}
FACTS = [
    *("age_years", "patient_age", "density", "birads", "site", "view", "width", "covid", "study_date"),
    *("Alter", "Dichte", "Befund", "Fallzahl", "Früherkennung", "Gerät", "Herdgröße", "Anzahl"),
    *("âge", "densité", "nombre de lésions", "carcinome", "adenoma", "lésion", "taille"),
    *("età", "densità", "lesione", "diagnosi", "edad", "densidad", "lesión", "anomaly", "num_exams"),
]


def of_all(words: dict[str, list[str]]) -> list[str]:
    return [word for own in words.values() for word in own]


@pytest.mark.parametrize("name", of_all(WHO))
def test_a_column_that_may_say_who_a_person_is_is_known(name: str) -> None:
    assert says_who(name)


@pytest.mark.parametrize("name", of_all(IDS))
def test_a_column_of_numbers_by_which_a_hospital_knows_a_person_is_known(name: str) -> None:
    assert identifies(name)


@pytest.mark.parametrize("name", of_all(PATIENTS))
def test_a_column_that_may_hold_the_patients_is_known(name: str) -> None:
    assert may_be_patients(name)


@pytest.mark.parametrize("name", FACTS)
def test_a_column_of_facts_speaks_of_nobody(name: str) -> None:
    assert not says_who(name)
    assert not identifies(name)
    assert not may_be_patients(name)


def test_the_stage_of_a_tumour_identifies_nobody() -> None:
    assert not identifies("pT")
