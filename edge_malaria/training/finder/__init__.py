"""The cell finder's network: composed and real tiles, targets, fitting."""
