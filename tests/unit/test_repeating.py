"""Work that is done now and then."""

import asyncio

from iiif_server.repeating import repeating


async def test_it_is_done_again_and_again_until_it_is_over() -> None:
    count, often = 0, asyncio.Event()

    async def work() -> None:
        nonlocal count
        count += 1
        if count == 3:
            often.set()

    async with repeating(0.001, work):
        await often.wait()
    done = count
    await asyncio.sleep(0.01)
    assert count == done
