"""Owns the protocol of carrying out a plan: nothing twice, nothing unplanned, nothing forgotten.

``context`` what a run is given · ``shared`` one reading for many waiters · ``calls`` what to send ·
``second_check`` the independent check before sending · ``operation`` intent to verdict · ``proof`` what
became of the disks · ``resolve`` operations of earlier runs · ``pools`` one pool, ``run`` all of them.
"""
