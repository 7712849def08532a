"""Talks to the service over HTTP; the only package that uses httpx.

``transport`` bytes and deadlines · ``signing`` and ``token`` authentication · ``budget`` request budgets ·
``retry`` retries of reads · ``failure`` error answers · ``outcome`` the outcome of a write · ``wire`` answers
as structs · ``paging`` complete lists · ``client`` the calls · ``connect`` a client for one target.
"""
