"""The experiments of Galloway, Taylor and Moussa (ICLR 2018), with what an honest evaluation adds."""
