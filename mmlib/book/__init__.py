"""The book's workshop: its experiments and their stored results, figures and sliders. The library never imports it."""
