"""Embed a folder or bucket on a Spark cluster: a shard of the images a task, parts in Parquet.

    pip install ".[cpu,parquet,s3]" pyspark  # and Java 17
    python examples/cluster_spark.py SOURCE OUTPUT

SOURCE and OUTPUT are folders that every machine sees, or URLs as `s3://bucket/crops`.
No Hadoop connector is needed: images are
read and parts written by reid-runtime. A task that dies is done again, three times.
"""

import os
import time

import click
from pyspark.sql import SparkSession

from reid_runtime import EmbedShard


@click.command()
@click.argument("source")
@click.argument("output")
@click.option("--shards", type=click.IntRange(min=1), default=64, show_default=True, help="Some for each worker.")
@click.option("--model", metavar="FILE|NAME", help="As of `reid-runtime embed`.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Of a worker.")
@click.option("--workers", type=click.IntRange(min=1), default=os.cpu_count(), help="On this machine.")
@click.option("--cluster", metavar="ADDRESS", help="The master, `spark://HOST:7077`.  [workers on this machine]")
def main(
    source: str, output: str, shards: int, model: str | None, threads: int, workers: int, cluster: str | None
) -> None:
    """Embed SOURCE into OUTPUT/shard-.../; run again, it makes what is missing."""
    embed = EmbedShard(source, output, shards, model=model, threads=threads)
    begin = time.monotonic()
    session = SparkSession.builder.master(cluster or f"local[{workers},4]").appName("reid-runtime").getOrCreate()
    try:
        embedded = session.sparkContext.parallelize(embed.numbers, shards).map(embed).sum()
    finally:
        session.stop()
    click.echo(f"{embedded} images in {time.monotonic() - begin:.1f} s; one file of them: ", nl=False)
    click.echo(f"reid-runtime merge {' '.join(map(embed.folder, embed.numbers[:2]))} ... -o rows.parquet")


if __name__ == "__main__":
    main()
