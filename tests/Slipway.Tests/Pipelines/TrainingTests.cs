using Slipway.Contracts.Monitoring;
using Slipway.Native.DuckDb;
using Slipway.Native.Xgboost;
using Slipway.Pipelines.Training;
using Slipway.Statistics.Evaluation;

namespace Slipway.Tests.Pipelines;

[Trait("database", "none")]
public sealed class TrainingTests
{
    [Fact]
    public void Logistic_regression_finds_the_law_behind_the_rows_and_its_file_agrees()
    {
        var rows = Sample(20_000, seed: 3);

        var model = new LogisticTrainer(new LogisticSettings(0, 100)).Train(rows, rows, 1, (_, _) => { }, TestContext.Current.CancellationToken);

        // The true probability of the law is what the model file should say, wherever it is asked.
        var probe = new LabelledMatrix(["x", "y"], [0, 0, 2, 1, -1, 3, float.NaN, 0], [true, false, true, false], 4);
        var scores = Scorer.Score(model.Onnx, probe, TestContext.Current.CancellationToken);
        Assert.Equal(Law(0, 0), scores[0], 0.02);
        Assert.Equal(Law(2, 1), scores[1], 0.02);
        Assert.Equal(Law(-1, 3), scores[2], 0.02);
        Assert.Equal(Law(Mean(rows, 0), 0), scores[3], 0.02);
        Assert.True(model.Curves[^1].Value < model.Curves[0].Value);
    }

    [Fact]
    [Trait("capability", "TRK-07")]
    public void Both_trainers_give_the_same_bytes_twice()
    {
        var (train, validation) = (Sample(5_000, seed: 3), Sample(2_000, seed: 4));
        List<ITrainer> trainers = [new LogisticTrainer(new LogisticSettings(1e-6, 50))];
        if (XgboostTrainer.IsAvailable(out _))
        {
            trainers.Add(new BoostedTreesTrainer(new BoostedTreesSettings(20, 4, 0.1, 1, 0.8, 5, 2)));
        }

        Assert.All(trainers, trainer => Assert.Equal(
            trainer.Train(train, validation, 7, (_, _) => { }, TestContext.Current.CancellationToken).Onnx,
            trainer.Train(train, validation, 7, (_, _) => { }, TestContext.Current.CancellationToken).Onnx));
    }

    [Fact]
    public void Boosted_trees_learn_what_a_line_cannot()
    {
        if (!XgboostTrainer.IsAvailable(out var reason))
        {
            Assert.Skip(reason);
        }

        var random = new Random(5);
        var values = new float[8_000];
        var labels = new bool[4_000];
        for (var i = 0; i < labels.Length; i++)
        {
            (values[2 * i], values[2 * i + 1]) = (random.NextSingle() - 0.5f, random.NextSingle() - 0.5f);
            labels[i] = values[2 * i] * values[2 * i + 1] > 0;
        }

        var rows = new LabelledMatrix(["x", "y"], values, labels, labels.Length);
        var model = new BoostedTreesTrainer(new BoostedTreesSettings(40, 3, 0.3, 1, 1, null, 2)).Train(rows, rows, 1, (_, _) => { }, TestContext.Current.CancellationToken);

        Assert.True(BinaryMetrics.RocAuc(labels, Scorer.Score(model.Onnx, rows, TestContext.Current.CancellationToken)) > 0.95);
        Assert.Contains(model.Curves, point => point.Key == "validation_log_loss");
        Assert.Equal(40, model.Curves.Count(point => point.Key == "train_log_loss"));
    }

    [Fact]
    [Trait("capability", "DAT-07")]
    public void A_features_baseline_has_deciles_that_hold_equal_shares_and_counts_its_nulls()
    {
        double[] values = [.. Enumerable.Range(0, 1000).Select(i => (double)i), double.NaN, double.NaN];

        var baseline = BaselineBuilder.OfFeature(values);

        Assert.Equal(9, baseline.Edges.Count);
        Assert.All(baseline.Counts, count => Assert.Equal(100, count));
        Assert.Equal((2, 0.0, 999.0), (baseline.Nulls, baseline.Min, baseline.Max));
        Assert.Equal(499.5, baseline.Mean, 9);
        Assert.Equal(288.8194360957494, baseline.Std, 9);
    }

    [Fact]
    [Trait("capability", "DAT-07")]
    public void A_feature_of_few_values_gets_a_bin_each_and_one_with_many_ties_no_empty_bin()
    {
        var weekdays = BaselineBuilder.OfFeature([.. Enumerable.Range(0, 700).Select(i => i % 7 + 1.0)]);
        var tied = BaselineBuilder.OfFeature([.. Enumerable.Range(0, 1000).Select(i => i < 600 ? 0.0 : i)]);

        Assert.Equal([1.5, 2.5, 3.5, 4.5, 5.5, 6.5], weekdays.Edges);
        Assert.All(weekdays.Counts, count => Assert.Equal(100, count));
        Assert.All(tied.Counts, count => Assert.True(count > 0));
        Assert.Equal(1000, tied.Counts.Sum());
    }

    [Fact]
    public void A_value_on_an_edge_belongs_to_the_bin_above_it()
    {
        double[] edges = [1, 2];

        Assert.Equal([0, 1, 1, 2, 2], ((double[])[0.9, 1, 1.9, 2, 99]).Select(value => BaselineHistogram.BinOf(edges, value)));
    }

    [Fact]
    public void A_sample_depends_on_the_seed_alone_and_has_about_the_size_asked_for()
    {
        var path = Path.Combine(Directory.CreateTempSubdirectory("slipway-test-").FullName, "rows.parquet");
        using var database = DuckDbDatabase.OpenInMemory();
        using (var connection = database.Connect())
        {
            connection.Execute($"COPY (SELECT i AS x, NULL::INT AS gone, i % 3 = 0 AS late FROM range(20000) t(i)) TO {DuckDbLiteral.Quote(path)} (FORMAT parquet)");
        }

        LabelledMatrix Read(long seed) => LabelledMatrix.Read(database, path, ["x", "gone"], "late", 5000, seed, TestContext.Current.CancellationToken);
        var (one, two, other) = (Read(1), Read(1), Read(2));
        Directory.Delete(Path.GetDirectoryName(path)!, recursive: true);

        Assert.Equal(one.Values, two.Values);
        Assert.NotEqual(one.Values, other.Values);
        Assert.InRange(one.Rows, 4800, 5200);
        Assert.Equal(20_000, one.RowsTotal);
        Assert.True(float.IsNaN(one.Values[1]));
        Assert.All(Enumerable.Range(0, one.Rows), row => Assert.Equal(one.Values[2 * row] % 3 == 0, one.Labels[row]));
    }

    private static double Law(double x, double y) => 1 / (1 + Math.Exp(1 - 0.8 * x + 0.5 * y));

    private static double Mean(LabelledMatrix rows, int column) => rows.Column(column).Average();

    private static LabelledMatrix Sample(int count, int seed)
    {
        var random = new Random(seed);
        var values = new float[2 * count];
        var labels = new bool[count];
        for (var i = 0; i < count; i++)
        {
            (values[2 * i], values[2 * i + 1]) = (random.NextSingle() * 4 - 1, random.NextSingle() * 6 - 3);
            labels[i] = random.NextDouble() < Law(values[2 * i], values[2 * i + 1]);
        }

        return new LabelledMatrix(["x", "y"], values, labels, count);
    }
}
