"""What a program does with the Python client that is made of the OpenAPI document: it logs in, creates, changes and lists.

`client.py ADDRESS EMAIL PASSWORD`, with the client as the package `swincms_client` beside it. Part of the drill `clients`.
"""

import sys
from datetime import timedelta

from swincms_client import AuthenticatedClient, Client
from swincms_client.api.offerings import academic_offerings_create as create_offering
from swincms_client.api.tokens import token_log_in as log_in
from swincms_client.api.units import academic_units_change as change_unit
from swincms_client.api.units import academic_units_create as create_unit
from swincms_client.api.units import academic_units_list as list_units
from swincms_client.models import Credentials, OfferingFields, Problem, Semester, Unit, UnitFields, UnitFieldsChange


def main(address, email, password):
    pair = log_in.sync(client=Client(base_url=address), body=Credentials(email=email, password=password))
    client = AuthenticatedClient(base_url=address, token=pair.access)

    # Only what is required.
    unit = create_unit.sync(client=client, body=UnitFields(code="PYT10001", name="Made by Python"))
    assert isinstance(unit, Unit) and unit.credit_points == "12.5" and unit.is_active, unit

    # What is left out stays.
    changed = change_unit.sync(unit.id, client=client, body=UnitFieldsChange(description="Changed by Python"))
    assert (changed.name, changed.description, changed.code) == ("Made by Python", "Changed by Python", "PYT10001"), changed

    listed = list_units.sync(client=client, search="Made by Python")
    assert [row.id for row in listed] == [unit.id], listed

    # Moments go there and come back.
    opens = unit.created_at
    offering = create_offering.sync(client=client, body=OfferingFields(
        unit=unit.id, year=2031, semester=Semester.S1, enrollment_start=opens, enrollment_end=opens + timedelta(days=30)))
    assert offering.enrollment_start == opens, offering

    refused = create_unit.sync(client=client, body=UnitFields(code="PYT10001", name="Once more"))
    assert isinstance(refused, Problem) and refused.status == 409, refused


if __name__ == "__main__":
    main(*sys.argv[1:])
