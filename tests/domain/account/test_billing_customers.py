"""As whom billing providers know an account: one customer each, whoever comes second."""

from domain.account.billing_customers import PROVIDERS_MAX, BillingCustomerLinked, LinkBillingCustomer
from tests.domain.account.asking import account
from tests.domain.scenario import T0


def link(customer: str, *, provider: str = "stripe", replaced: str | None = None) -> LinkBillingCustomer:
    """The account is this customer."""
    return LinkBillingCustomer(provider=provider, customer_id=customer, replaced=replaced)


def test_the_first_link_holds() -> None:
    """Two checkouts at once end with one customer; both are told which."""
    scenario = account()
    assert scenario.when(link("cus_1")) == [
        BillingCustomerLinked(provider="stripe", customer_id="cus_1", linked_at=T0),
    ]
    assert scenario.when(link("cus_2")) == []
    assert scenario.answer == {"customer_id": "cus_1"}
    assert scenario.replayed() == scenario.state == scenario.snapshot()


def test_a_link_is_replaced_by_who_knows_it() -> None:
    """A customer that the provider has deleted is replaced once."""
    scenario = account()
    scenario.when(link("cus_1"))
    assert len(scenario.when(link("cus_2", replaced="cus_1"))) == 1
    assert scenario.when(link("cus_3", replaced="cus_1")) == []
    assert scenario.answer == {"customer_id": "cus_2"}


def test_providers_are_bounded() -> None:
    """The state stays small."""
    scenario = account()
    for number in range(PROVIDERS_MAX):
        scenario.when(link("cus", provider=f"p{number}"))
    assert scenario.refused(link("cus", provider="more")).code == "too_many_providers"
