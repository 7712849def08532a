"""Carries out an approved plan: no call twice, none that was not planned, and none left without a record.

The order of a whole run is left to ``engine``, the wire to ``api``, storage to ``journal``.

``context`` what a run is given · ``polling`` reads shared by many waiters · ``calls`` what to send ·
``second_check`` the independent check before sending · ``operation`` one call from intent to result ·
``proof`` what the disks show · ``partial`` desktops of a job that did only a part · ``strangers`` jobs that this
journal does not know · ``resolve`` operations of earlier runs · ``pools`` one pool, ``run`` all of them.
"""
