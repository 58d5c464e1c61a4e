using Slipway.Contracts.Pipelines;
using Slipway.Datasets;
using Slipway.Native.DuckDb;

namespace Slipway.Tests.Pipelines;

/// <summary>A small world with a known law: orders of six shops, later the dearer they are and the worse the shop is.</summary>
internal static class Orders
{
    public const string Dataset =
        """
        kind: dataset
        name: orders
        timestamp: placed
        source: {type: file, owner: tests, update_frequency: never, pii: false}
        columns:
          - {name: placed, type: timestamp, nullable: false}
          - {name: shop, type: string, nullable: false}
          - {name: price, type: float64, nullable: false}
          - {name: late, type: boolean, nullable: false}
        rules:
          - {column: price, rule: range, min: 0, max: 1000, severity: block}
          - {column: price, rule: range, min: 0, max: 5, severity: alert}
        """;

    public const string ShopView =
        """
        kind: feature_view
        name: shop_rate
        entity: shop
        keys: [shop]
        source: orders
        ttl: 30d
        sql: |
          SELECT shop, day + INTERVAL 1 DAY AS event_timestamp, avg(late) AS late_rate
          FROM (SELECT shop, date_trunc('day', placed)::TIMESTAMP AS day, late::INT AS late FROM source) GROUP BY shop, day
        features: [{name: late_rate, type: float64}]
        """;

    public const string OrderView =
        """
        kind: feature_view
        name: order_facts
        entity: order
        on_demand: true
        inputs: [{name: price, type: float64}]
        features: [{name: price, type: float64, expression: price}]
        """;

    public const string Service =
        """
        kind: feature_service
        name: orders
        event_time: placed
        inputs: [{name: shop, type: string}, {name: price, type: float64}, {name: placed, type: timestamp}]
        keys: {shop: {shop: shop}}
        features: [shop:late_rate, order:price]
        """;

    public const string Pipeline =
        """
        kind: pipeline
        name: orders
        model: late-order
        seed: 11
        parameters: {minimum: 0.6, price_max: 1000, test_until: 2024-03-01, trees: 12, feature: shop:late_rate}
        go_no_go: {metric: auc, minimum: "${minimum}", must_beat_baselines: true, production_tolerance: 0.01}
        stages:
          - {name: ingest, uses: ingest, outputs: [dataset], with: {dataset: orders}}
          - {name: validate, uses: validate, inputs: [dataset], outputs: [checks]}
          - name: features
            uses: features
            inputs: [dataset, checks]
            outputs: [splits, train, validation, test]
            with:
              service: orders
              rows: SELECT placed, shop, price, late FROM source
              event_timestamp: placed
              label: late
              keep: [shop]
              splits:
                train: {from: 2024-01-01, until: 2024-02-01}
                validation: {from: 2024-02-01, until: 2024-02-15}
                test: {from: 2024-02-15, until: "${test_until}"}
          - name: train
            uses: train
            inputs: [splits, train, validation]
            outputs: [model, candidates, reference]
            with:
              sample: 3000
              trainers:
                logistic_regression: {iterations: 40}
                boosted_trees: {rounds: "${trees}", depth: 3, threads: 2}
          - name: evaluate
            uses: evaluate
            inputs: [splits, test, model, candidates, reference]
            outputs: [report, baseline]
            with: {baselines: {shop_rate: "${feature}"}, slices: {by: shop}}
          - {name: register, uses: register, inputs: [splits, model, candidates, report, baseline], outputs: [version]}
        """;

    /// <summary>A server with the orders, its definitions applied and its runner started.</summary>
    public static async Task<PipelineHost> StartAsync(string price = "random() * 10", int rows = 8000, string quality = "i % 6")
    {
        var host = new PipelineHost(kinds: null);
        await host.ApplyAsync(Dataset);
        await AddVersionAsync(host, price, rows, quality);
        await host.ApplyAsync(ShopView, OrderView, Service, Pipeline);
        await host.StartRunnerAsync();
        return host;
    }

    /// <summary>Adds a version of the orders.</summary>
    public static async Task<DatasetVersionRecord> AddVersionAsync(PipelineHost host, string price = "random() * 10", int rows = 8000, string quality = "i % 6")
    {
        var path = Path.Combine(host.Data, "orders.parquet");
        Write(path, price, rows, quality);
        await using var file = File.OpenRead(path);
        return await host.Get<DatasetStore>().AddVersionAsync("orders", file, PipelineHost.Ada, host.Cancel);
    }

    public static Task<PipelineRun> RunAsync(PipelineHost host, params (string Key, string Value)[] parameters) =>
        host.RunAsync("orders", parameters.ToDictionary(pair => pair.Key, pair => pair.Value));

    private static void Write(string path, string price, int rows, string quality)
    {
        using var database = DuckDbDatabase.OpenInMemory(new DuckDbOptions { Threads = 1 });
        using var connection = database.Connect();
        connection.Execute("SELECT setseed(0.5)");
        connection.Execute(
            $"""
            COPY (
              SELECT placed, shop, price, random() < 1 / (1 + exp(3.5 - 0.35 * price - 0.4 * quality)) AS late
              FROM (
                SELECT TIMESTAMP '2024-01-01' + INTERVAL 1 SECOND * CAST(i * 60 * 86400 / {rows} AS BIGINT) AS placed,
                       'shop' || (i % 6) AS shop, {quality} AS quality, {price} AS price
                FROM range({rows}) t(i))
            ) TO {DuckDbLiteral.Quote(path)} (FORMAT parquet)
            """);
    }
}
