"""Sources of a run: search engines behind LangChain's retriever interface, asked within a budget.

`setup` names and checks them, `searcher` asks them; nothing heavy is imported before the first search.
"""
