using System.Globalization;
using System.Text;
using Slipway.Statistics.Proportions;

namespace Slipway.Bench;

/// <summary><c>bench/rollouts.sh</c>: false rollbacks of a healthy canary and the time until a failing one is stopped.</summary>
internal static class RolloutBench
{
    private static readonly int[] Loads = [20, 100, 1000];
    private static readonly int[] Factors = [2, 3, 5, 10];
    private static readonly string[] Colours = ["#6e7781", "#d4760a", "#8250df", "#1f6feb"];

    public static int Run(string[] args)
    {
        var (runs, draw) = (20_000, false);
        for (var i = 0; i < args.Length; i++)
        {
            switch (args[i])
            {
                case "--runs" when i + 1 < args.Length && int.TryParse(args[i + 1], NumberStyles.None, CultureInfo.InvariantCulture, out var count) && count > 0:
                    (runs, i) = (count, i + 1);
                    break;
                case "--draw":
                    draw = true;
                    break;
                default:
                    Console.Error.WriteLine("usage: bench/rollouts.sh [--runs N] [--draw]");
                    return 2;
            }
        }

        Console.WriteLine($"A canary with a tenth of the traffic, looked at every minute for an hour; the stable version fails 0.5 % of its requests. {runs} runs, seeds 0 to {runs - 1}.");
        Console.WriteLine("\nFalse rollbacks of a canary that fails as often, with the 95 % Clopper-Pearson interval:\n");
        Console.WriteLine("| rule | " + string.Join(" | ", Loads.Select(load => $"{load}/min")) + " |\n|---|" + string.Concat(Loads.Select(_ => "---|")));
        var healthy = Loads.Select(load => Simulate(new ErrorWorld(load), runs)).ToList();
        for (var rule = 0; rule < ErrorGateSimulation.Rules.Count; rule++)
        {
            Console.WriteLine($"| {ErrorGateSimulation.Rules[rule]} | {string.Join(" | ", healthy.Select(outcomes => FalseRollbacks(outcomes, rule)))} |");
        }

        var failing = Factors.Select(factor => Loads.Select(load => Simulate(new ErrorWorld(load, CanaryRate: 0.005 * factor), runs)).ToList()).ToList();
        for (var f = 0; f < Factors.Length; f++)
        {
            Console.WriteLine($"\nA canary that fails {Factors[f]} times as often: share stopped within the hour, and the median minute over all runs:\n");
            Console.WriteLine("| rule | " + string.Join(" | ", Loads.Select(load => $"{load}/min")) + " |\n|---|" + string.Concat(Loads.Select(_ => "---|")));
            for (var rule = 0; rule < ErrorGateSimulation.Rules.Count; rule++)
            {
                Console.WriteLine($"| {ErrorGateSimulation.Rules[rule]} | {string.Join(" | ", failing[f].Select(outcomes => Detection(outcomes, rule)))} |");
            }
        }

        if (draw)
        {
            const string path = "docs/images/rollout-detection.svg";
            File.WriteAllText(path, Picture(failing));
            Console.WriteLine($"\nThe curves are in {path}.");
        }

        return 0;
    }

    private static List<int?[]> Simulate(ErrorWorld world, int runs) =>
        [.. Enumerable.Range(0, runs).AsParallel().AsOrdered().Select(seed => ErrorGateSimulation.Run(world, seed))];

    private static string FalseRollbacks(List<int?[]> outcomes, int rule)
    {
        var stopped = outcomes.Count(outcome => outcome[rule] is not null);
        var interval = Proportion.ClopperPearsonInterval(stopped, outcomes.Count);
        return string.Create(CultureInfo.InvariantCulture, $"{100.0 * stopped / outcomes.Count:0.00} % ({100 * interval.Lower:0.00}-{100 * interval.Upper:0.00})");
    }

    private static string Detection(List<int?[]> outcomes, int rule)
    {
        var minutes = outcomes.Select(outcome => outcome[rule] ?? int.MaxValue).Order().ToList();
        var median = minutes[(minutes.Count - 1) / 2];
        var share = 100.0 * minutes.Count(minute => minute < int.MaxValue) / minutes.Count;
        return string.Create(CultureInfo.InvariantCulture, $"{share:0.0} %, {(median == int.MaxValue ? "over 60" : median.ToString(CultureInfo.InvariantCulture))}");
    }

    // One panel per load; solid the error rate alone, dashed with nine comparisons.
    private static string Picture(List<List<List<int?[]>>> failing)
    {
        const int width = 290, height = 220, left = 52, top = 64, gap = 24;
        var svg = new StringBuilder();
        var whole = left + Loads.Length * (width + gap) + 16;
        svg.Append(CultureInfo.InvariantCulture, $"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {whole} {top + height + 56}\" font-family=\"system-ui, sans-serif\" font-size=\"12\" role=\"img\">\n");
        svg.Append("<title>Share of failing canaries stopped, by minute</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n");
        svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{left}\" y=\"22\" font-size=\"14\" font-weight=\"600\" fill=\"#1f2328\">Share of canaries stopped, by minute: errors 2, 3, 5 and 10 times the stable version's 0.5 %</text>\n");
        svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{left}\" y=\"42\" fill=\"#57606a\">solid: only the error rate is compared; dashed: nine comparisons share alpha</text>\n");
        for (var panel = 0; panel < Loads.Length; panel++)
        {
            var x0 = left + panel * (width + gap);
            double X(double minute) => x0 + minute / 60 * width;
            double Y(double share) => top + height - share * height;
            foreach (var share in (double[])[0, 0.5, 1])
            {
                svg.Append(CultureInfo.InvariantCulture, $"<line x1=\"{x0}\" x2=\"{x0 + width}\" y1=\"{Y(share):0.#}\" y2=\"{Y(share):0.#}\" stroke=\"#d0d7de\"/>\n");
                if (panel == 0)
                {
                    svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{x0 - 6}\" y=\"{Y(share) + 4:0.#}\" text-anchor=\"end\" fill=\"#57606a\">{share * 100:0} %</text>\n");
                }
            }

            foreach (var minute in (int[])[0, 10, 20, 30, 40, 50, 60])
            {
                svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{X(minute):0.#}\" y=\"{top + height + 16}\" text-anchor=\"middle\" fill=\"#57606a\">{minute}</text>\n");
            }

            svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{x0 + width / 2}\" y=\"{top + height + 36}\" text-anchor=\"middle\" fill=\"#1f2328\">minutes, {Loads[panel]} canary requests a minute</text>\n");
            for (var f = 0; f < Factors.Length; f++)
            {
                foreach (var rule in (int[])[ErrorGateSimulation.Declared, ErrorGateSimulation.Alone])
                {
                    var outcomes = failing[f][panel];
                    var shares = Enumerable.Range(0, 61).Select(minute => (double)outcomes.Count(outcome => outcome[rule] <= minute) / outcomes.Count).ToList();
                    var points = string.Join(' ', shares.Select((share, minute) => string.Create(CultureInfo.InvariantCulture, $"{X(minute):0.#},{Y(share):0.#}")));
                    var dash = rule == ErrorGateSimulation.Declared ? " stroke-dasharray=\"4 3\"" : "";
                    svg.Append(CultureInfo.InvariantCulture, $"<polyline points=\"{points}\" fill=\"none\" stroke=\"{Colours[f]}\" stroke-width=\"1.8\"{dash}/>\n");
                    if (rule == ErrorGateSimulation.Alone)
                    {
                        // Beside the curve where it is steep; each at its own height, so that fast curves do not write over each other.
                        var at = shares.FindIndex(share => share >= 0.2 + 0.18 * f) is var found and >= 0 ? found : 57;
                        svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{X(at) + 5:0.#}\" y=\"{Y(shares[at]) + 13:0.#}\" font-weight=\"600\" fill=\"{Colours[f]}\">{Factors[f]}×</text>\n");
                    }
                }
            }
        }

        return svg.Append("</svg>\n").ToString();
    }
}
