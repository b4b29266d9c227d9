"""The page: a thin front end of Streamlit over the library. No tensor arithmetic; `main` is where it starts."""
