"""Two agents add to one balance through Django's ORM; nothing here knows of noclobber.

Arguments: the database (`sqlite`, `postgresql`), who runs (`threads`, `tasks`), how (`plain`, `atomic`, `compared`,
`locked`, and `in turn`: every field, one agent after the other), and where the database is.
"""

import asyncio
import datetime as dt
import decimal
import sys
import threading
from urllib.parse import parse_qs, urlsplit

import django
from django.conf import settings
from django.db import connection, models, transaction

DATABASE, WHO, HOW, WHERE = sys.argv[1:]
TIMEOUT_S = 20


def place() -> dict[str, object]:
    """The database, as Django wants it."""
    if DATABASE == "sqlite":
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": WHERE, "OPTIONS": {"timeout": TIMEOUT_S}}
    parts = urlsplit(WHERE)
    (folder,) = parse_qs(parts.query)["host"]
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.strip("/"),
        "USER": parts.username,
        "HOST": folder,
    }


settings.configure(DATABASES={"default": place()}, INSTALLED_APPS=[], USE_TZ=True)
django.setup()


class Account(models.Model):
    """One account."""

    bal = models.IntegerField()

    class Meta:
        """Where it stands."""

        app_label = "books"
        db_table = "accounts"

    def __str__(self) -> str:
        """Its balance."""
        return str(self.bal)


class Ledger(models.Model):
    """What databases give back in another form than they got it."""

    code = models.CharField(max_length=8, primary_key=True)
    amount = models.DecimalField(max_digits=10, decimal_places=2)
    rate = models.FloatField()
    at = models.DateTimeField()
    data = models.JSONField()

    class Meta:
        """Where it stands."""

        app_label = "books"
        db_table = "ledgers"

    def __str__(self) -> str:
        """Its name."""
        return self.code


def note(amount: int) -> None:
    """One agent's work on all fields, which it leaves as they are at last."""
    ledger = Ledger.objects.get(pk="main")
    ledger.amount, ledger.rate = decimal.Decimal(amount), amount
    ledger.at, ledger.data = ledger.at + dt.timedelta(hours=1), {"b": [amount, 1.0], "a": (1, 2)}
    ledger.save()
    ledger.refresh_from_db()
    ledger.save()
    connection.close()


def change(amount: int, wait: object) -> None:
    """One agent's work."""
    if HOW == "locked":
        wait()
        with transaction.atomic():
            account = Account.objects.select_for_update().get(pk=1)
            account.bal += amount
            account.save(update_fields=["bal"])
        return
    account = Account.objects.get(pk=1)
    wait()
    if HOW == "atomic":
        Account.objects.filter(pk=1).update(bal=models.F("bal") + amount)
    elif HOW == "compared":
        while not Account.objects.filter(pk=1, bal=account.bal).update(bal=account.bal + amount):
            account.refresh_from_db()
    else:
        account.bal += amount
        account.save()


def book(amount: int, read: threading.Barrier) -> None:
    """One agent, in a thread."""
    change(amount, lambda: read.wait(TIMEOUT_S))
    connection.close()


async def abook(amount: int, read: asyncio.Barrier) -> None:
    """One agent, in a task."""
    account = await Account.objects.aget(pk=1)
    await read.wait()
    if HOW == "atomic":
        await Account.objects.filter(pk=1).aupdate(bal=models.F("bal") + amount)
    elif HOW == "compared":
        while not await Account.objects.filter(pk=1, bal=account.bal).aupdate(bal=account.bal + amount):
            await account.arefresh_from_db()
    else:
        account.bal += amount
        await account.asave()


async def both() -> None:
    """Both agents, as tasks."""
    read = asyncio.Barrier(2)
    await asyncio.wait_for(asyncio.gather(abook(50, read), abook(-20, read)), TIMEOUT_S)


if HOW == "in turn":
    for amount in (100, 150):
        thread = threading.Thread(target=note, args=(amount,))
        thread.start()
        thread.join(TIMEOUT_S)
elif WHO == "tasks":
    asyncio.run(both())
else:
    barrier = threading.Barrier(2)
    threads = [threading.Thread(target=book, args=(amount, barrier)) for amount in (50, -20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
print(Account.objects.get(pk=1).bal)
connection.close()
