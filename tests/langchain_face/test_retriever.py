"""The retriever and the tools, by LangChain's own classes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from pydantic import ValidationError

import aegis
from aegis.errors import InvalidInput
from aegis.langchain import AegisRetriever, memory_tools

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aegis.config import Settings


@pytest.fixture
def client(dsn: str, settings: Settings) -> Iterator[Any]:
    with aegis.connect(dsn, settings=settings) as opened:
        opened.memory.record("error", "The deploy failed: the disk was full.", tags=["ops"])
        opened.memory.record("note", "The office cat is called Miso.", session_id="s1")
        opened.memory.record("note", "Secrets of another.", namespace="other")
        yield opened


def test_retriever_returns_documents_with_score_and_reasons(client: Any) -> None:
    retriever = AegisRetriever(client=client, k=1)
    assert isinstance(retriever, BaseRetriever)
    (document,) = retriever.invoke("Why did the deploy fail?")
    hit = client.memory.recall("Why did the deploy fail?", k=1)[0]
    assert isinstance(document, Document)
    assert (document.id, document.page_content) == (str(hit.episode.id), hit.episode.summary)
    assert document.metadata["tags"] == ["ops"]
    assert document.metadata["score"] == pytest.approx(hit.score, rel=1e-3)
    assert document.metadata["why"] == hit.why
    assert document.metadata["source"] == f"aegis://episode/{hit.episode.id}"


def test_filters_hold_for_the_retriever_and_for_one_call(client: Any) -> None:
    retriever = AegisRetriever(client=client, episode_tags=["ops"])
    assert len(retriever.invoke("cat")) == 1
    assert len(retriever.invoke("cat", episode_tags=[])) == 2
    found = retriever.invoke("cat", episode_tags=[], session_id="s1")
    assert [d.page_content for d in found] == ["The office cat is called Miso."]
    assert [
        d.metadata["namespace"]
        for d in AegisRetriever(client=client, namespace="other").invoke("x")
    ] == ["other"]
    with pytest.raises(InvalidInput, match="colour cannot be asked"):
        retriever.invoke("cat", colour="red")
    with pytest.raises(InvalidInput, match="k is 0"):
        retriever.invoke("cat", k=0)


def test_retriever_is_a_step_of_a_chain(client: Any) -> None:
    def text(documents: list[Document]) -> str:
        return documents[0].page_content

    chain = AegisRetriever(client=client, k=1) | RunnableLambda(text)
    assert chain.invoke("cat") == "The office cat is called Miso."
    assert chain.batch(["cat", "deploy"])[1].startswith("The deploy failed")


async def test_retriever_of_an_async_client_works_in_its_loop_and_in_threads(
    dsn: str, settings: Settings
) -> None:
    async with aegis.connect(dsn, settings=settings) as opened:
        await opened.memory.record("note", "The office cat is called Miso.")
        retriever = AegisRetriever(client=opened)
        documents = await retriever.ainvoke("cat")
        assert [d.page_content for d in documents] == ["The office cat is called Miso."]
        there = await asyncio.to_thread(retriever.invoke, "cat")
        assert [d.id for d in there] == [d.id for d in documents]
        with pytest.raises(asyncio.InvalidStateError):
            retriever.invoke("cat")


def test_retriever_without_an_open_client_is_refused() -> None:
    with pytest.raises(ValidationError, match="client is str"):
        AegisRetriever(client="postgresql://…")


async def test_tools_recall_record_and_tell_errors(client: Any) -> None:
    recall, record = memory_tools(client)
    assert "Miso" in recall.invoke({"query": "What is the cat called?"})
    assert recall.invoke({"query": "zyzzyva quux"}) == "Nothing is remembered that fits."
    said = record.invoke({"event_type": "note", "summary": "The dog is called Rex."})
    assert said.startswith("Recorded as e")
    assert "Rex" in await recall.ainvoke({"query": "What is the dog called?"})
    assert "[invalid_input]" in await record.ainvoke({"event_type": "note", "summary": ""})
    assert {t.name for t in (recall, record)} == {"memory_recall", "memory_record"}
