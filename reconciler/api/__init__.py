"""Owns the wire and nothing else: the only user of httpx.

``transport`` bytes and deadlines · ``signing`` and ``token`` authentication · ``budget`` request budgets ·
``patience`` repeated reads · ``failure`` error answers · ``outcome`` what became of a write · ``wire`` answers
as structs · ``paging`` complete lists · ``client`` the calls · ``connect`` opening a target.
"""
